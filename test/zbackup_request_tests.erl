%% @doc Requests, right and wrong, of all shapes. None of them crashes, none tells a password.
-module(zbackup_request_tests).

-include_lib("eunit/include/eunit.hrl").

-define(SECRET, "hunter2-and-more").

texts_become_binaries_test() ->
    ?assertEqual(
        #{
            site => <<"a">>,
            media_dir => <<"/m/", 16#e2, 16#98, 16#83>>,
            config_files => [<<"/x">>, <<"/y">>],
            <<"timezone">> => <<"Europe/Amsterdam">>,
            database => #{host => <<"h">>, port => 1},
            encryption => #{password => <<195, 169>>},
            database_only => true
        },
        zbackup_request:with_binaries(#{
            site => <<"a">>,
            media_dir => [$/, $m, $/, 16#2603],
            config_files => ["/x", <<"/y">>],
            <<"timezone">> => "Europe/Amsterdam",
            database => #{host => "h", port => 1},
            encryption => #{password => [233]},
            database_only => true
        })
    ).

an_empty_database_password_is_none_test() ->
    [
        ?assertEqual(#{database => #{user => <<"u">>}},
                     zbackup_request:with_binaries(#{database => #{user => "u", Key => Empty}}))
     || Key <- [password, <<"password">>], Empty <- ["", <<>>]
    ].

a_day_becomes_text_test() ->
    ?assertEqual(#{day => <<"2024-02-29">>}, zbackup_request:with_binaries(#{day => {2024, 2, 29}})),
    ?assertEqual(#{day => {2023, 2, 29}}, zbackup_request:with_binaries(#{day => {2023, 2, 29}})).

names_become_binaries_test() ->
    ?assertEqual([], zbackup_request:binaries([])),
    ?assertEqual([<<"a-1">>], zbackup_request:binaries("a-1")),
    ?assertEqual([<<"a-1">>], zbackup_request:binaries(<<"a-1">>)),
    ?assertEqual([<<"a-1">>, <<"a-2">>], zbackup_request:binaries(["a-1", <<"a-2">>])).

what_is_no_text_is_left_test() ->
    [
        ?assertEqual(#{site => Value}, zbackup_request:with_binaries(#{site => Value}))
     || Value <- [[a], [$a | $b], ["a", "b"], [-1], [16#d800], [1.0], a, 1, {}, self()]
    ].

%% Each is wrong, with a word that its error must have: the name of the field, mostly.
wrong_requests() ->
    Right = #{site => "s", backup_dir => "/b"},
    Fields = [
        {"site", #{site => 1}},
        {"site", #{site => mysite}},
        {"site", #{site => <<>>}},
        {"site", #{site => "../x"}},
        {"site", #{site => <<255, 254>>}},
        {"site", #{site => [a]}},
        {"site", #{site => undefined}},
        {"site", #{<<"site">> => "again"}},
        {"backup_dir", #{backup_dir => undefined}},
        {"backup_dir", #{backup_dir => ""}},
        {"backup_dir", #{backup_dir => #{}}},
        {"backup_dir", #{backup_dir => <<"/b", 0>>}},
        {"backup_dir", #{backup_dir => <<"/b/", 16#e9>>}},
        {"media_dir", #{media_dir => ["/a", "/b"]}},
        {"media_dir", #{media_dir => true}},
        {"config_files", #{config_files => "/a"}},
        {"config_files", #{config_files => <<"/a">>}},
        {"config_files[1]", #{config_files => ["/a", b]}},
        {"config_files", #{config_files => ["/a" | "/b"]}},
        {"config_files", #{config_files => [<<"/a">> | <<"/b">>]}},
        {"security_dir", #{security_dir => 1.5}},
        {"timezone", #{timezone => {}}},
        {"database", #{database => <<"d">>}},
        {"database", #{database => []}},
        {"database", #{database => ["h", 5432, "u"]}},
        {"database: the field user", #{database => #{dbname => "d"}}},
        {"database: the field dbname", #{database => #{user => "u"}}},
        {"database.port", #{database => #{user => "u", dbname => "d", port => "5432"}}},
        {"database.port", #{database => #{user => "u", dbname => "d", port => 65536}}},
        {"database.port", #{database => #{user => "u", dbname => "d", port => -1}}},
        {"database.port", #{database => #{user => "u", dbname => "d", port => 1 bsl 80}}},
        {"database.password", #{database => #{user => "u", dbname => "d", password => 1}}},
        {"database: there is no field hots", #{database => #{hots => "u"}}},
        {"encryption", #{encryption => ?SECRET}},
        {"encryption", #{encryption => list_to_binary(?SECRET)}},
        {"encryption", #{encryption => true}},
        {"encryption", #{encryption => #{}}},
        {"encryption", #{encryption => #{password => undefined}}},
        {"encryption", #{encryption => #{password => ?SECRET, password_file => "/p"}}},
        {"encryption.password", #{encryption => #{password => ""}}},
        {"encryption.password", #{encryption => #{password => [?SECRET]}}},
        {"encryption.password", #{encryption => #{password => {?SECRET}}}},
        {"encryption.password", #{encryption => #{password => list_to_atom(?SECRET)}}},
        {"encryption.password", #{encryption => #{password => #{?SECRET => 1}}}},
        {"encryption.password", #{encryption => #{password => <<?SECRET, 255>>}}},
        {"encryption.password", #{encryption => #{password => <<?SECRET, 0>>}}},
        {"encryption: there is no field passwrd", #{encryption => #{passwrd => ?SECRET}}},
        {"database_only", #{database_only => "true"}},
        {"database_only", #{database_only => 1}},
        {"day", #{day => {2023, 2, 29}}},
        {"day", #{day => {2023, 2}}},
        {"day", #{day => "monday"}},
        {"there is no field backupdir", #{backupdir => "/b"}},
        {"there is no field", #{<<"nö"/utf8>> => "/b"}},
        {"names of fields", #{1 => "/b"}},
        {"names of fields", #{"site" => "/b"}},
        {"names of fields", #{<<255>> => "/b"}},
        {"config", #{config => "/site.toml"}}
    ],
    [{Word, maps:merge(Right, Wrong)} || {Word, Wrong} <- Fields] ++
        [
            {"site", #{}},
            {"config", #{config => 1}},
            {"config", #{config => ""}},
            {"database_only", #{config => "/c", database_only => maybe_not}}
            | [{"map", Value} || Value <- [[], "", "text", <<"text">>, [{site, "s"}], a, 1, 1.5, {}, self(),
                                           make_ref(), fun() -> ok end]]
        ].

wrong_requests_test_() ->
    [
        {lists:flatten(io_lib:format("~0tp", [Request])), fun() ->
            is_usage(Word, zbackup:backup(Request)),
            %% To list and verify, the name of the site is not needed.
            case Word of
                "site" -> ok;
                _ ->
                    is_usage(Word, zbackup:list(Request)),
                    is_usage(Word, zbackup:verify(Request))
            end
        end}
     || {Word, Request} <- wrong_requests()
    ].

list_and_verify_want_a_folder_test() ->
    is_usage("backup_dir", zbackup:list(#{})),
    is_usage("backup_dir", zbackup:verify(#{})),
    is_usage("site", zbackup:list(#{site => 1, backup_dir => "/b"})).

wrong_names_test_() ->
    Site = #{site => "s", backup_dir => "/b"},
    [
        ?_test(is_usage("names", zbackup:verify(Site, Names)))
     || Names <- [a, 1, #{}, [a], [<<"a">> | <<"b">>], [[]], [<<255>>], [["a"]]]
    ].

wrong_files_test_() ->
    Ways = [fun zbackup:encrypt/4, fun zbackup:decrypt/4],
    [
        ?_test(is_usage(Word, Way(In, Out, Password, Options)))
     || Way <- Ways,
        {Word, In, Out, Password, Options} <- [
            {"input", undefined, "/o", ?SECRET, #{}},
            {"input", 1, "/o", ?SECRET, #{}},
            {"input", "", "/o", ?SECRET, #{}},
            {"input", <<"/", 255>>, "/o", ?SECRET, #{}},
            {"output", "/i", 1, ?SECRET, #{}},
            {"output", "/i", "", ?SECRET, #{}},
            {"password", "/i", "/o", undefined, #{}},
            {"password", "/i", "/o", "", #{}},
            {"password", "/i", "/o", {?SECRET}, #{}},
            {"force", "/i", "/o", ?SECRET, #{force => 1}},
            {"no field fore", "/i", "/o", ?SECRET, #{fore => true}},
            {"map", "/i", "/o", ?SECRET, [force]},
            {"map", "/i", "/o", ?SECRET, ?SECRET}
        ]
    ].

%% Also in a field that nobody reads: each level takes some of the stack, which has an end.
no_depth_is_too_much_test_() ->
    Deep = fun(Around) -> lists:foldl(fun(_, Term) -> Around(Term) end, 1, lists:seq(1, 200000)) end,
    [
        {timeout, 60, ?_test(is_usage("too deep", Way(Deep(Around))))}
     || Around <- [fun(Term) -> [Term] end, fun(Term) -> #{<<"unknown">> => Term} end],
        Way <- [
            fun(Term) -> zbackup:set_status(#{backup_dir => "/nowhere"}, #{unknown => Term}) end
        ]
    ].

wrong_jobs_test_() ->
    [
        ?_test(is_usage("job", Way(Job)))
     || Way <- [fun zbackup:cancel/1, fun zbackup:await/1],
        Job <- [a, make_ref(), self(), <<"job">>, #{}]
    ].

undefined_is_absent_test() ->
    Optional = [media_dir, config_files, security_dir, timezone, database, encryption, database_only, day],
    Request = maps:from_list([{Key, undefined} || Key <- Optional]),
    is_usage("nothing to back up", result(zbackup:backup(Request#{site => "s", backup_dir => "/nowhere"}))).

binary_keys_test() ->
    is_usage("nothing to back up", result(zbackup:backup(#{<<"site">> => "s", <<"backup_dir">> => "/b"}))).

a_time_zone_that_is_none_test() ->
    Request = #{site => "s", backup_dir => "/b", timezone => "Mars/Olympus"},
    is_usage("Mars/Olympus", result(zbackup:backup(Request))).

result({ok, Job}) -> zbackup:await(Job).

is_usage(Word, Result) ->
    ?assertMatch({error, usage, Message} when is_binary(Message), Result),
    {error, usage, Message} = Result,
    ?assert(is_list(unicode:characters_to_list(Message))),
    ?assertNotEqual({nomatch, Word, Message}, {string:find(Message, Word), Word, Message}),
    ?assertEqual(nomatch, string:find(Message, ?SECRET)).
