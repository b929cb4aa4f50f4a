%% @doc Copies of the backups of a site in an object store, as the module keeps them.
-module(backup_copies_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").
-include_lib("zotonic_core/include/zotonic.hrl").
-include_lib("zotonic_core/include/zotonic_file.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([after_each_backup/1, of_mod_filestore/1, two_stores/1, trouble_touches_nothing/1, no_backup_waits/1,
         settings/1, settings_of_the_page/1, settings_survive_a_restore/1, no_store/1, long_round/1,
         replica_without_a_store/1, store_that_comes_later/1, copier_comes_back/1]).

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
    Prefix = lists:concat(["copies-", os:getpid(), "/", Name]),
    [{dir, Dir}, {prefix, Prefix}, {context, backup_host:start(Dir, #{})} | Config].

end_per_testcase(_, _) ->
    backup_host:stop(),
    meck:unload().

after_each_backup(Config) ->
    Context = ?config(context, Config),
    %% One that was made before there was a store goes as well.
    {Yesterday, _} = calendar:system_time_to_universal_time(erlang:system_time(second) - 24 * 3600, second),
    #{name := First} = backup_host:backup(#{day => Yesterday}, Context),
    %% Of one second they would be in the order of their names.
    timer:sleep(1100),
    use_store(Config),
    backup(Context),
    backup_host:await(<<"uploaded">>),
    test_site:until(fun() -> not mod_backup:is_uploading(Context) end),
    [_, _] = Listed = mod_backup:list_backups(Context),
    ?assert(lists:all(fun(#{is_filestore_uploaded := Is}) -> Is end, Listed)),
    ?assertEqual([], mod_backup:failures(Context)),
    %% Media files too.
    ?assertMatch([_, #{name := First, is_files_present := true, missing := []}], stored(Config)),
    %% A new one takes the place of the old one of its name, of which nothing is left.
    timer:sleep(1100),
    backup(Context),
    backup_host:await(<<"uploaded">>),
    [#{timestamp := Newest} | _] = stored(Config),
    [#{timestamp := Local} | _] = mod_backup:list_backups(Context),
    ?assertEqual(Local, calendar:system_time_to_universal_time(Newest, second)),
    %% Nothing is new: nobody is asked.
    idle(Context),
    meck:new(zbackup, [passthrough, no_link]),
    meck:expect(zbackup, push, fun(_) -> error(pushed) end),
    whereis('backup_copier$testsite') ! round,
    idle(Context),
    ?assertEqual([], mod_backup:failures(Context)).

%% What mod_filestore says of where it is, its double slash included.
of_mod_filestore(Config) ->
    Context = ?config(context, Config),
    use_filestore(Config),
    backup(Context),
    backup_host:await(<<"uploaded">>),
    ?assertMatch([#{files := undefined, database := undefined, config := #{}}], stored(Config, "/site/backup")),
    ?assertMatch([#{is_filestore_uploaded := true, is_files_present := false}], mod_backup:list_backups(Context)).

two_stores(Config) ->
    Context = ?config(context, Config),
    use_filestore(Config),
    use_store(Config),
    backup(Context),
    backup_host:await(<<"uploaded">>),
    ?assertMatch([_], stored(Config)),
    ?assertMatch([_], stored(Config, "/site/backup")),
    %% One in trouble does not keep the other from its copies.
    idle(Context),
    host:set(observer, fun(_, _) -> error(gone) end),
    timer:sleep(1100),
    backup(Context),
    backup_host:await(<<"upload_error">>),
    idle(Context),
    ?assertMatch([#{kind := upload}], mod_backup:failures(Context)),
    [#{timestamp := Newest}] = stored(Config),
    [#{timestamp := Local}] = mod_backup:list_backups(Context),
    ?assertEqual(Local, calendar:system_time_to_universal_time(Newest, second)).

trouble_touches_nothing(Config) ->
    Context = ?config(context, Config),
    use_store(Config),
    backup_host:put_config(offsite_secret, <<"wrong secret">>),
    backup(Context),
    backup_host:await(<<"upload_error">>),
    idle(Context),
    [#{name := Name, is_filestore_uploaded := false, problem := undefined}] = mod_backup:list_backups(Context),
    [#{kind := upload, message := Message, at := {_, _}}] = mod_backup:failures(Context),
    ?assertNotEqual(nomatch, string:find(Message, "secret_access_key")),
    ?assertEqual(nomatch, string:find(Message, "wrong secret")),
    {ok, {[#{kind := upload}], []}} = m_backup:m_get([<<"failures">>], undefined, Context),
    ?assertMatch(#{failure := undefined}, backup_status:read(Context)),
    {ok, Job} = zbackup:verify(backup_site:store(Context), [Name]),
    ?assertMatch({ok, #{ok := true}}, zbackup:await(Job)),
    %% The settings are mended: nobody has to wait for the next night.
    backup_host:put_config(offsite_secret, list_to_binary(env("SECRET_ACCESS_KEY"))),
    ok = mod_backup:observe_m_config_update(#m_config_update{module = mod_backup, key = offsite_secret}, Context),
    backup_host:await(<<"uploaded">>),
    idle(Context),
    ?assertEqual([], mod_backup:failures(Context)),
    ?assertMatch([#{is_filestore_uploaded := true}], mod_backup:list_backups(Context)),
    %% A setting that is missing is asked for by its name.
    backup_host:put_config(offsite_key, <<>>),
    ok = backup_copier:changed(Context),
    backup_host:await(<<"upload_error">>),
    idle(Context),
    [#{message := Missing}] = mod_backup:failures(Context),
    ?assertNotEqual(nomatch, string:find(Missing, "mod_backup.offsite_key")).

%% A store that takes all and says nothing.
no_backup_waits(Config) ->
    Context = ?config(context, Config),
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listen),
    use_store(Config),
    backup_host:put_config(offsite_endpoint, iolist_to_binary(["http://127.0.0.1:", integer_to_list(Port)])),
    backup(Context),
    test_site:until(fun() -> mod_backup:is_uploading(Context) end),
    ?assertMatch({ok, {#{kind := upload}, []}}, m_backup:m_get([<<"copying">>], undefined, Context)),
    timer:sleep(1100),
    backup(Context),
    ?assert(mod_backup:is_uploading(Context)),
    %% It ends with the server.
    #{kind := upload} = mod_backup:copying(Context),
    {links, Links} = process_info(whereis('backup_copier$testsite'), links),
    [Job] = [Pid || Pid <- Links, is_pid(Pid), Pid =/= whereis('mod_backup$testsite')],
    gen_server:stop('mod_backup$testsite'),
    test_site:until(fun() -> not is_process_alive(Job) andalso whereis('backup_copier$testsite') =:= undefined end),
    gen_tcp:close(Listen).

settings(Config) ->
    Context = ?config(context, Config),
    ?assertEqual(undefined, backup_config:offsite(Context)),
    ?assertEqual([], backup_store:all(Context)),
    backup_host:put_config(offsite_url, <<" s3://bucket/site ">>),
    ?assertMatch([{error, usage, _}], backup_store:all(Context)),
    backup_host:put_config(offsite_key, <<"id">>),
    backup_host:put_env(offsite_secret, "secret"),
    Offsite = #{url => <<"s3://bucket/site">>, endpoint => undefined, region => undefined,
                access_key_id => <<"id">>, secret_access_key => <<"secret">>},
    ?assertEqual([{s3, Offsite}], backup_store:all(Context)),
    %% The page has all but the secret.
    {ok, {Shown, []}} = m_backup:m_get([<<"offsite">>], undefined, Context),
    ?assertMatch(#{url := <<"s3://bucket/site">>, has_secret := true}, Shown),
    ?assertEqual(nomatch, string:find(io_lib:format("~p", [Shown]), "\"secret\"")),
    ?assertMatch({error, eacces}, m_backup:m_get([<<"offsite">>], undefined, backup_host:user([], Context))),
    ?assertMatch({ok, {undefined, []}}, m_backup:m_get([<<"offsite">>], undefined, backup_host:user([mod_backup], Context))),
    backup_host:put_env(is_config_locked, true),
    ?assertEqual(undefined, backup_config:offsite(Context)),
    %% What mod_filestore has for another service is not for us to speak to.
    backup_host:put_env(is_config_locked, false),
    backup_host:put_config(offsite_url, <<>>),
    Credentials = #filestore_credentials{service = <<"webdav">>, service_url = <<"davs://host">>,
                                         location = <<"davs://host/backup/backup.json">>, credentials = #{}},
    host:set(observer, fun(#filestore_credentials_lookup{}, _) -> {ok, Credentials} end),
    ?assertEqual([filestore], backup_store:all(Context)).

settings_of_the_page(Config) ->
    Context = ?config(context, Config),
    Save = fun(Values, Who) ->
        Query = [{atom_to_binary(Key), Value} || {Key, Value} <- Values],
        _ = controller_admin_backup:event(#submit{message = config_offsite}, host:query(Query, Who)),
        backup_config:offsite(Context)
    end,
    Values = [{offsite_url, <<"s3://bucket/x">>}, {offsite_endpoint, <<"https://host">>}, {offsite_region, <<>>},
              {offsite_key, <<"id">>}, {offsite_secret, <<"secret">>}],
    ?assertEqual(undefined, Save(Values, backup_host:user([mod_backup], Context))),
    ?assertMatch(#{url := <<"s3://bucket/x">>, secret_access_key := <<"secret">>}, Save(Values, Context)),
    %% The page does not have the secret: none means the one that is there.
    Same = lists:keyreplace(offsite_secret, 1, Values, {offsite_secret, <<>>}),
    ?assertMatch(#{endpoint := undefined, secret_access_key := <<"secret">>},
                 Save(lists:keyreplace(offsite_endpoint, 1, Same, {offsite_endpoint, <<>>}), Context)),
    ?assertEqual(undefined, Save(lists:keyreplace(offsite_url, 1, Same, {offsite_url, <<>>}), Context)),
    ?assertEqual(<<>>, m_config:get_value(mod_backup, offsite_secret, Context)),
    backup_host:put_env(is_config_locked, true),
    ?assertEqual(undefined, Save(Values, Context)),
    ?assertEqual(<<>>, m_config:get_value(mod_backup, offsite_secret, Context)).

settings_survive_a_restore(Config) ->
    Context = ?config(context, Config),
    Here = #{{mod_backup, offsite_url} => <<"s3://here/x">>, {mod_backup, offsite_key} => <<"here">>,
             {mod_backup, offsite_secret} => <<"mine">>},
    Kept = fun(Before, After) ->
        host:set(config, Before),
        Offsite = backup_config:offsite(Context),
        host:set(config, After),
        {backup_config:keep_offsite(Offsite, Context), backup_config:offsite(Context)}
    end,
    ?assertMatch({kept, #{url := <<"s3://here/x">>, access_key_id := <<"here">>, secret_access_key := <<"mine">>}},
                 Kept(Here, #{})),
    There = Here#{{mod_backup, offsite_url} := <<"s3://there/x">>, {mod_backup, offsite_region} => <<"there">>},
    ?assertMatch({kept, #{url := <<"s3://here/x">>, region := undefined}}, Kept(Here, There)),
    ?assertMatch({unchanged, #{url := <<"s3://there/x">>}}, Kept(#{}, There)),
    ?assertMatch({unchanged, #{url := <<"s3://here/x">>}}, Kept(Here, Here)).

no_store(Config) ->
    Context = ?config(context, Config),
    backup(Context),
    idle(Context),
    ?assertEqual([], mod_backup:failures(Context)),
    ?assertEqual({error, not_env_backup}, mod_backup:download_backup(Context)),
    host:set(environment, backup),
    ?assertEqual({error, no_store}, mod_backup:download_backup(Context)).

%% One round takes longer than the time until the next: that is not the last one.
long_round(Config) ->
    Context = ?config(context, Config),
    Self = self(),
    idle(Context),
    meck:new(backup_copy, [passthrough, no_link]),
    meck:expect(backup_copy, start, fun(_, _, Server, _) ->
        spawn_link(fun() -> Self ! {round, self()}, receive go -> Server ! {round, self(), {ok, undefined}} end end)
    end),
    Copier = whereis('backup_copier$testsite'),
    %% Or the first round has begun by itself.
    _ = backup_copier:start(Context),
    Round = receive {round, Pid} -> Pid end,
    %% As the timer of that round does when it is over.
    Timer = fun() -> [Left || Field <- tuple_to_list(sys:get_state(Copier)), is_reference(Field),
                              Left <- [erlang:read_timer(Field)], is_integer(Left)] end,
    [_] = [erlang:cancel_timer(Field) || Field <- tuple_to_list(sys:get_state(Copier)), is_reference(Field)],
    ?assertEqual([], Timer()),
    Copier ! round,
    Round ! go,
    idle(Context),
    ?assertMatch([_], Timer()).

%% A replica that follows nothing says so, and finds the store when there is one.
replica_without_a_store(Config) ->
    Context = ?config(context, Config),
    gen_server:stop('mod_backup$testsite'),
    host:set(environment, backup),
    _ = backup_host:server(Context),
    test_site:until(fun() -> mod_backup:failures(Context) =/= [] end),
    [#{kind := download, message := Message}] = mod_backup:failures(Context),
    ?assertNotEqual(nomatch, string:find(Message, "offsite_url")),
    [#{problem := Message} = Shown | _] = mod_backup:observe_backup_list(backup_list, Context),
    ?assertNot(maps:is_key(looked_at, Shown)),
    use_store(Config),
    whereis('backup_copier$testsite') ! round,
    idle(Context),
    ?assertEqual([], mod_backup:failures(Context)),
    ?assertMatch(#{looked_at := {_, _}}, backup_replica:state(Context)).

%% One that comes later, by a module that was just switched on, gets what there is.
store_that_comes_later(Config) ->
    Context = ?config(context, Config),
    backup(Context),
    %% Until the round is over that comes after a backup.
    timer:sleep(1500),
    idle(Context),
    %% As from another place: that it is in a store says nothing of this one.
    [#{name := Name, timestamp := At}] = element(2, maps:find(backups, element(2, zbackup:list(backup_site:store(Context))))),
    Relay = filename:join(?config(dir, Config), "relay"),
    ok = file:make_dir(Relay),
    {ok, Job} = zbackup:relay(backup_site:store(Context), #{step => mark, relay => Relay, name => Name, timestamp => At}),
    {ok, _} = zbackup:await(Job),
    use_store(Config),
    whereis('backup_copier$testsite') ! round,
    backup_host:await(<<"uploaded">>),
    idle(Context),
    ?assertMatch([_], stored(Config)).

copier_comes_back(Config) ->
    Context = ?config(context, Config),
    Server = whereis('mod_backup$testsite'),
    exit(whereis('backup_copier$testsite'), kill),
    test_site:until(fun() -> whereis('backup_copier$testsite') =:= undefined end),
    ?assertNot(mod_backup:is_uploading(Context)),
    ?assertEqual([], mod_backup:failures(Context)),
    Server ! start_copier,
    test_site:until(fun() -> whereis('backup_copier$testsite') =/= undefined end),
    ?assertEqual(Server, whereis('mod_backup$testsite')).

%% Helpers

env(Name) ->
    os:getenv("ZBACKUP_TEST_S3_" ++ Name).

use_store(Config) ->
    maps:foreach(fun backup_host:put_config/2, #{
        offsite_url => iolist_to_binary(["s3://", env("BUCKET"), "/", ?config(prefix, Config)]),
        offsite_endpoint => list_to_binary(env("ENDPOINT")),
        offsite_key => list_to_binary(env("ACCESS_KEY_ID")),
        offsite_secret => list_to_binary(env("SECRET_ACCESS_KEY"))
    }).

use_filestore(Config) ->
    Url = iolist_to_binary([env("ENDPOINT"), "/", env("BUCKET"), "/", ?config(prefix, Config), "/site/"]),
    host:set(observer, fun(#filestore_credentials_lookup{path = Path}, _) ->
        {ok, #filestore_credentials{
            service = <<"s3">>, service_url = Url, location = <<Url/binary, "/", Path/binary>>,
            credentials = #{username => env("ACCESS_KEY_ID"), password => env("SECRET_ACCESS_KEY"), tls_options => []}
        }}
    end).

%% What the store has, by itself.
stored(Config) ->
    stored(Config, "").

stored(Config, Below) ->
    {ok, Job} = zbackup:list_offsite(#{backup_dir => ?config(dir, Config), offsite => #{
        url => lists:append(["s3://", env("BUCKET"), "/", ?config(prefix, Config), Below]),
        endpoint => env("ENDPOINT"), access_key_id => env("ACCESS_KEY_ID"),
        secret_access_key => env("SECRET_ACCESS_KEY")
    }}),
    {ok, #{backups := Backups}} = zbackup:await(Job),
    Backups.

backup(Context) ->
    test_site:until(fun() -> mod_backup:start_backup(Context) =:= ok end),
    backup_host:await(<<"completed">>).

idle(Context) ->
    test_site:until(fun() -> mod_backup:running(Context) =:= undefined andalso mod_backup:copying(Context) =:= undefined end).
