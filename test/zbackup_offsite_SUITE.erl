%% @doc Copies of backups in an object store. `scripts/with-s3' provides one to play with.
-module(zbackup_offsite_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2]).
-export([
    there_and_back/1,
    some_of_it/1,
    location_of_mod_filestore/1,
    errors_have_their_kind/1,
    no_secret_is_told/1,
    options_are_checked/1,
    cancel_takes_back/1,
    shell/1
]).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports),
             not lists:member(Name, [module_info, init_per_suite, end_per_suite])].

init_per_suite(Config) ->
    case os:getenv("ZBACKUP_TEST_S3_ENDPOINT") of
        false -> {skip, "there is no object store to play with: run this by scripts/with-s3"};
        _ -> Config
    end.

end_per_suite(_Config) ->
    ok.

init_per_testcase(Name, Config) ->
    Dir = test_site:dir(Name, Config),
    Prefix = lists:concat(["erlang-", os:getpid(), "/", Name]),
    Offsite = #{
        url => "s3://" ++ env("BUCKET") ++ "/" ++ Prefix,
        endpoint => env("ENDPOINT"),
        access_key_id => env("ACCESS_KEY_ID"),
        secret_access_key => env("SECRET_ACCESS_KEY")
    },
    [{dir, Dir}, {prefix, Prefix}, {site, test_site:new(Dir, #{offsite => Offsite})} | Config].

env(Name) ->
    os:getenv("ZBACKUP_TEST_S3_" ++ Name).

there_and_back(Config) ->
    Site = ?config(site, Config),
    {ok, #{backup := #{name := Name, timestamp := Time}}} = run(zbackup:backup(Site)),
    {ok, Pushed} = run(zbackup:push(Site)),
    ?assertMatch(
        #{
            store := <<"s3://", _/binary>>,
            uploaded := [#{name := Name, timestamp := Time, bytes := Bytes}],
            already := [],
            removed := [],
            problems := [],
            warnings := []
        } when Bytes > 100000,
        Pushed
    ),
    ?assertMatch({ok, #{backups := [#{is_filestore_uploaded := true}]}}, zbackup:list(Site)),
    ?assertMatch({ok, #{uploaded := [], already := [Name]}}, run(zbackup:push(Site))),

    Other = elsewhere(Site, Config),
    {ok, Job} = zbackup:list_offsite(Other),
    ?assertMatch(
        {ok, #{refused := [], backups := [#{name := Name, is_files_present := true, missing := []}]}},
        zbackup:await(Job)
    ),
    {ok, PullJob} = zbackup:pull(Other),
    {Result, Phases} = zbackup:await(PullJob, fun(#{phase := P}, Ps) -> [P | Ps] end, []),
    ?assertMatch(
        {ok, #{
            pulled := [#{name := Name, is_proven := true, notes := []}],
            already := [],
            problems := [],
            warnings := [],
            newest := #{name := Name, timestamp := Time, is_proven := true, is_new := true}
        }},
        Result
    ),
    ?assertEqual([download], lists:usort(Phases)),
    ?assertEqual(test_site:files(Site), test_site:files(Other)),
    ?assertMatch({ok, #{ok := true}}, run(zbackup:verify(Other))),
    ?assertMatch(
        {ok, #{pulled := [], already := [Name], newest := #{is_new := false, is_proven := true}}},
        run(zbackup:pull(Other))
    ).

%% With mod_filestore, media are not backed up.
some_of_it(Config) ->
    Site = ?config(site, Config),
    {ok, #{backup := #{name := Name}}} = run(zbackup:backup(Site)),
    ?assertMatch({ok, #{uploaded := [#{name := Name}]}}, run(zbackup:push(Site, #{only => [database, config]}))),
    Other = elsewhere(Site, Config),
    ?assertMatch({ok, #{newest := #{name := Name}}}, run(zbackup:pull(Other, #{names => ["recent"]}))),
    ?assertMatch(
        {ok, #{backups := [#{files := undefined, is_config_files_present := true}]}},
        zbackup:list(Other)
    ).

%% The address of the list is enough to find all of it.
location_of_mod_filestore(Config) ->
    #{offsite := Offsite} = Site = ?config(site, Config),
    {ok, #{backup := #{name := Name}}} = run(zbackup:backup(Site)),
    {ok, _} = run(zbackup:push(Site)),
    Location = lists:append([env("ENDPOINT"), "/", env("BUCKET"), "/", ?config(prefix, Config), "/backup.json"]),
    Same = maps:remove(endpoint, Offsite#{url := unicode:characters_to_binary(Location)}),
    #{backup_dir := Dir} = Site,
    Other = #{backup_dir => Dir, offsite => Same},
    ?assertMatch({ok, #{already := [Name]}}, run(zbackup:push(Other))),
    %% The same request is good for the others.
    ?assertMatch({ok, #{backups := [_]}}, zbackup:list(Other)).

errors_have_their_kind(Config) ->
    #{offsite := Offsite} = Site = ?config(site, Config),
    {ok, _} = run(zbackup:backup(Site)),
    Before = test_site:files(Site),
    [
        begin
            ?assertMatch({error, Kind, <<_, _/binary>>}, run(zbackup:push(Site#{offsite := maps:merge(Offsite, Changed)}))),
            ?assertEqual(Before, test_site:files(Site))
        end
     || {Kind, Changed} <- [
            {permission, #{access_key_id => "nobody"}},
            {permission, #{secret_access_key => "wrong"}},
            {permission, #{access_key_id => env("READER_ID"), secret_access_key => env("READER_SECRET")}},
            {not_found, #{url => "s3://no-such-bucket/x"}},
            {unreachable, #{endpoint => "http://127.0.0.1:1", patience => 1}},
            {usage, #{url => "nonsense"}}
        ]
    ],
    ?assertMatch({error, usage, _}, run(zbackup:push(maps:remove(offsite, Site)))),
    Encrypted = (elsewhere(Site, Config))#{encryption => #{password => "secret"}},
    {ok, _} = run(zbackup:push(Site)),
    ?assertMatch({ok, #{problems := [#{kind := damaged}], newest := undefined}}, run(zbackup:pull(Encrypted))),
    ?assertMatch({ok, #{problems := []}}, run(zbackup:pull(Encrypted, #{require_encrypted => false}))).

no_secret_is_told(Config) ->
    #{offsite := Offsite} = Site = ?config(site, Config),
    Secret = "a secret to find in messages",
    [
        begin
            Result = run(Fun(Site#{offsite := maps:merge(Offsite#{secret_access_key := Secret}, Changed)})),
            ?assertMatch({error, _, _}, Result),
            ?assertEqual(nomatch, string:find(io_lib:format("~tp", [Result]), "find in"))
        end
     || Fun <- [fun zbackup:push/1, fun zbackup:pull/1, fun zbackup:list_offsite/1],
        Changed <- [#{}, #{odd => 1}, #{region => 7}, #{secret_access_key => [Secret, 1.5]}]
    ].

options_are_checked(Config) ->
    Site = ?config(site, Config),
    [
        ?assertMatch({error, usage, _}, Fun(Site, Options))
     || {Fun, Options} <- [
            {fun zbackup:push/2, #{only => [media]}},
            {fun zbackup:push/2, #{odd => true}},
            {fun zbackup:push/2, []},
            {fun zbackup:pull/2, #{only => [files]}},
            {fun zbackup:pull/2, #{require_encrypted => 1}},
            {fun zbackup:pull/2, #{names => 1}}
        ]
    ],
    ?assertMatch({error, usage, _}, zbackup:push(odd)),
    ?assertMatch({error, usage, _}, zbackup:list_offsite(odd)).

cancel_takes_back(Config) ->
    Site = ?config(site, Config),
    {ok, _} = run(zbackup:backup(Site)),
    Before = test_site:files(Site),
    %% A server that takes all and says nothing.
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listen),
    #{offsite := Offsite} = Site,
    Silent = Offsite#{endpoint := "http://127.0.0.1:" ++ integer_to_list(Port)},
    {ok, Job} = zbackup:push(Site#{offsite := Silent}),
    ok = zbackup:cancel(Job),
    ?assertMatch({error, cancelled, _}, zbackup:await(Job)),
    ok = gen_tcp:close(Listen),
    ?assertEqual(Before, test_site:files(Site)).

shell(Config) ->
    Site = ?config(site, Config),
    {ok, _} = run(zbackup:backup(Site)),
    ?assertEqual(ok, zbackup:shell_push(Site)),
    Other = elsewhere(Site, Config),
    ?assertEqual(ok, zbackup:shell_pull(Other)),
    ?assertEqual(test_site:files(Site), test_site:files(Other)).

%% The same site on another machine.
elsewhere(Site, Config) ->
    Site#{backup_dir := filename:join(?config(dir, Config), "elsewhere")}.

run({ok, Job}) -> zbackup:await(Job);
run({error, _, _} = Error) -> Error.
