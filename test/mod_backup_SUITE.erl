%% @doc The server of the Zotonic module and its jobs, in the stand-in for Zotonic.
-module(mod_backup_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").
-include_lib("zotonic_core/include/zotonic.hrl").
-include_lib("zotonic_core/include/zotonic_file.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([log/2]).
-export([is_a_module/1, lists_backups/1, list_that_cannot_be_read/1, lists_for_a_shell/1]).
-export([backup_by_hand/1, one_at_a_time/1, only_the_database/1, media_in_a_file_store/1,
         survives_a_killed_job/1, survives_a_crash/1, job_ends_with_the_server/1, not_in_backup_env/1,
         not_running/1]).
-export([encrypted/1, encrypted_without_password/1, never_plain_by_mistake/1, encrypted_as_it_is_when_it_begins/1]).
-export([verifies/1, verify_of_a_damaged_one/1]).
-export([failures_are_shown/1, interrupted_restore_is_shown/1, queues_of_two_sites/1, settles_later/1, restores_what_there_is/1, never_paused_for_ever/1, password_survives_a_restore/1]).
-export([restores/1, restore_that_fails/1, restore_options/1, settles_at_start/1, download/1]).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), Name =/= module_info].

init_per_testcase(Name, Config) ->
    Dir = test_site:dir(Name, Config),
    meck:new(zbackup, [passthrough, no_link]),
    [{dir, Dir}, {context, backup_host:start(Dir, #{})} | Config].

end_per_testcase(_, _) ->
    backup_host:stop(),
    meck:unload().

is_a_module(_) ->
    Attributes = mod_backup:module_info(attributes),
    ?assertEqual([600], proplists:get_value(mod_prio, Attributes)),
    ?assertEqual([backup], proplists:get_value(mod_provides, Attributes)),
    Keys = [Key || #{key := Key, description := _, default := _} <- proplists:get_value(mod_config, Attributes)],
    ?assertEqual([], [
        daily_dump, backup_time, timezone, verify_after, notify_email, encrypt_backups, backup_encrypt_password,
        allow_backup_download, allow_manual_backup, admin_panel, revision_retention_months,
        user_revision_retention_days, user_deletion_retention_days
    ] -- Keys),
    ?assertEqual(ok, gen_server:stop('mod_backup$testsite')).

lists_backups(Config) ->
    Context = ?config(context, Config),
    ?assertEqual([], mod_backup:list_backups(Context)),
    #{name := Name, timestamp := Timestamp} = backup_host:backup(#{day => {2026, 11, 22}}, Context),
    ?assertMatch(
        [#{
            name := Name,
            is_encrypted := false,
            is_database_present := false,
            is_files_present := true,
            is_config_files_present := true,
            is_filestore_uploaded := false,
            is_weekly := true,
            verified := undefined,
            files_file := <<Name:(byte_size(Name))/binary, ".tar.gz">>,
            problem := undefined
        }],
        mod_backup:list_backups(Context)
    ),
    [#{timestamp := Shown}] = mod_backup:list_backups(Context),
    ?assertEqual(calendar:system_time_to_universal_time(Timestamp, second), Shown),
    %% It says what is on the disk, and not what the list says.
    ok = file:delete(filename:join(backup_site:dir(Context), <<Name/binary, ".tar.gz">>)),
    ?assertMatch([#{is_files_present := false, missing := [_]}], mod_backup:list_backups(Context)).

list_that_cannot_be_read(Config) ->
    Context = ?config(context, Config),
    test_site:write(filename:join(backup_site:dir(Context), "backup.json"), "{"),
    ?assertEqual([], mod_backup:list_backups(Context)).

%% A backup may wait for those of other sites, and the settings be changed meanwhile.
encrypted_as_it_is_when_it_begins(Config) ->
    Context = ?config(context, Config),
    Self = self(),
    Other = spawn_link(fun() ->
        jobs:run(mod_backup, fun() -> Self ! {self(), runs}, receive go -> ok end end)
    end),
    receive {Other, runs} -> ok end,
    ok = mod_backup:start_backup(Context),
    timer:sleep(300),
    backup_host:put_config(backup_encrypt_password, <<"correct horse">>),
    backup_host:put_config(encrypt_backups, <<"1">>),
    Other ! go,
    backup_host:await(<<"completed">>),
    ?assertMatch([#{is_encrypted := true}], backup_list:read(Context)).

lists_for_a_shell(Config) ->
    Context = ?config(context, Config),
    #{name := Name} = backup_host:backup(Context),
    [Shown] = mod_backup:observe_backup_list(backup_list, Context),
    ?assertMatch(#{name := Name, timestamp := {_, _}, is_encrypted := false, is_files_present := true}, Shown),
    ?assertEqual([], [Key || {Key, Value} <- maps:to_list(Shown),
                      is_map(Value) orelse Value =:= undefined orelse is_list(Value)]).

backup_by_hand(Config) ->
    Context = ?config(context, Config),
    with_database(test_site:dump(""), Config),
    ?assertEqual(ok, mod_backup:observe_backup_start(backup_start, Context)),
    _ = [backup_host:await(Status) || Status <- [
        <<"started">>, <<"sql_backup_started">>, <<"archive_backup_started">>, <<"made">>, <<"completed">>]],
    test_site:until(fun() -> not mod_backup:backup_in_progress(Context) end),
    ?assertMatch([#{is_database_present := true, is_files_present := true, is_config_files_present := true,
                    verified := undefined}], mod_backup:list_backups(Context)),
    ?assertEqual([], backup_host:mails()).

one_at_a_time(Config) ->
    Context = ?config(context, Config),
    with_database(["touch $DIR/dumping\n", test_site:dump("while [ ! -e $DIR/go ]; do sleep 0.05; done")], Config),
    Server = whereis('mod_backup$testsite'),
    ok = mod_backup:start_backup(Context),
    test_site:until(fun() -> filelib:is_regular(filename:join(?config(dir, Config), "dumping")) end),
    ?assertEqual({error, in_progress}, mod_backup:start_backup(Context)),
    ?assertEqual({error, in_progress}, mod_backup:verify_backup(<<"x">>, Context)),
    ?assertEqual({error, in_progress}, mod_backup:restore_backup(Context)),
    ?assert(mod_backup:backup_in_progress(Context)),
    ?assertNot(mod_backup:is_uploading(Context)),
    ?assertMatch([#{is_running := true, name := <<"(testsite)">>}], mod_backup:list_backups(Context)),
    test_site:until(fun() ->
        case mod_backup:running(Context) of
            #{kind := backup, progress := #{phase := database}} -> true;
            _ -> false
        end
    end),
    ?assertMatch(
        {ok, {#{phase := database, kind := backup, started := {_, _}}, []}},
        m_backup:m_get([<<"running">>], undefined, Context)
    ),
    test_site:write(filename:join(?config(dir, Config), "go"), ""),
    backup_host:await(<<"completed">>),
    ?assertEqual(Server, whereis('mod_backup$testsite')).

only_the_database(Config) ->
    Context = ?config(context, Config),
    with_database(test_site:dump(""), Config),
    ok = mod_backup:start_backup(false, Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([#{is_database_present := true, is_files_present := false}], listed(Context)),
    ok = started(true, Context),
    backup_host:await(<<"completed">>),
    [#{timestamp := Full}] = listed(Context),
    timer:sleep(1100),
    ok = started(false, Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([#{is_database_present := true, is_files_present := true, files_timestamp := Full}],
                 listed(Context)).

media_in_a_file_store(Config) ->
    Context = ?config(context, Config),
    _ = backup_host:backup(Context),
    ?assertMatch([#{is_files_present := true}], listed(Context)),
    host:set(observer, fun(#filestore_credentials_lookup{}, _) -> {ok, #filestore_credentials{}} end),
    ok = mod_backup:start_backup(Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([#{is_files_present := false, files_file := undefined}], listed(Context)),
    %% One in trouble stops nothing, and then the media files are backed up.
    host:set(observer, fun(_, _) -> error(store_is_gone) end),
    ok = started(true, Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([#{is_files_present := true}], listed(Context)).

survives_a_killed_job(Config) ->
    Context = ?config(context, Config),
    #{name := Name} = backup_host:backup(Context),
    with_database(["touch $DIR/dumping\n", test_site:dump("while [ ! -e $DIR/go ]; do sleep 0.05; done")], Config),
    Server = whereis('mod_backup$testsite'),
    ok = mod_backup:start_backup(Context),
    test_site:until(fun() -> filelib:is_regular(filename:join(?config(dir, Config), "dumping")) end),
    {links, Links} = process_info(Server, links),
    [Worker] = [Pid || Pid <- Links, is_pid(Pid), Pid =/= self(), Pid =/= whereis('backup_copier$testsite')],
    exit(Worker, kill),
    backup_host:await(<<"error">>),
    ?assertEqual(Server, whereis('mod_backup$testsite')),
    ?assertMatch(#{failure := #{kind := <<"internal">>}}, backup_status:read(Context)),
    ?assertMatch([#{name := Name, is_files_present := true}], listed(Context)),
    test_site:write(filename:join(?config(dir, Config), "go"), ""),
    %% Its native threads end a moment later.
    Lock = filename:join(backup_site:dir(Context), ".zbackup.lock"),
    test_site:until(fun() -> not filelib:is_regular(Lock) end),
    ok = started(true, Context),
    backup_host:await(<<"completed">>),
    ?assertMatch(#{failure := undefined}, backup_status:read(Context)).

survives_a_crash(Config) ->
    Context = ?config(context, Config),
    Server = whereis('mod_backup$testsite'),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{pid => self()}}),
    meck:expect(zbackup, backup, fun(_) -> error({badmatch, <<"the secret">>}) end),
    ok = mod_backup:start_backup(Context),
    backup_host:await(<<"error">>),
    ok = logger:remove_handler(?MODULE),
    ?assertEqual(Server, whereis('mod_backup$testsite')),
    ?assertMatch(#{failure := #{kind := <<"internal">>}}, backup_status:read(Context)),
    Logged = [Event || {logged, Event} <- test_site:flush()],
    ?assertNotEqual([], Logged),
    ?assertEqual(nomatch, string:find(io_lib:format("~p", [Logged]), "the secret")).

job_ends_with_the_server(Config) ->
    Context = ?config(context, Config),
    with_database(["echo $$ > $DIR/pid\n", test_site:dump("sleep 60")], Config),
    ok = mod_backup:start_backup(Context),
    PidFile = filename:join(?config(dir, Config), "pid"),
    test_site:until(fun() -> filelib:file_size(PidFile) > 0 end),
    gen_server:stop('mod_backup$testsite'),
    test_site:until(fun() -> not test_site:is_alive(PidFile) end),
    Staging = filename:join(backup_site:dir(Context), ".staging"),
    test_site:until(fun() -> not filelib:is_dir(Staging) end),
    ?assertEqual([], listed(Context)).

not_in_backup_env(Config) ->
    Context = ?config(context, Config),
    gen_server:stop('mod_backup$testsite'),
    host:set(environment, backup),
    backup_host:put_config(daily_dump, <<"1">>),
    _ = backup_host:server(Context),
    ?assertEqual({error, env_backup}, mod_backup:start_backup(Context)),
    sync(),
    ?assertEqual([], listed(Context)).

not_running(Config) ->
    Context = ?config(context, Config),
    gen_server:stop('mod_backup$testsite'),
    _ = backup_host:backup(Context),
    ?assertEqual({error, not_running}, mod_backup:start_backup(Context)),
    ?assertEqual({error, not_running}, mod_backup:restore_backup(Context)),
    ?assertNot(mod_backup:backup_in_progress(Context)),
    ?assertMatch([#{is_files_present := true}], mod_backup:list_backups(Context)).

encrypted(Config) ->
    Context = ?config(context, Config),
    backup_host:put_config(encrypt_backups, <<"1">>),
    backup_host:put_config(backup_encrypt_password, <<"correct horse">>),
    ok = mod_backup:start_backup(Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([#{is_encrypted := true}], listed(Context)),
    {ok, Files} = file:list_dir(backup_site:dir(Context)),
    ?assertEqual([], [File || File <- Files, filename:extension(File) =:= ".gz"]),
    %% Switched off again, what was encrypted before can still be opened.
    backup_host:put_config(encrypt_backups, <<"0">>),
    [#{name := Name}] = listed(Context),
    ok = idle(Context),
    ok = mod_backup:verify_backup(Name, Context),
    backup_host:await(<<"verified">>),
    ?assertMatch([#{verified := #{ok := true}}], listed(Context)).

encrypted_without_password(Config) ->
    Context = ?config(context, Config),
    backup_host:put_config(encrypt_backups, <<"1">>),
    ok = mod_backup:start_backup(Context),
    backup_host:await(<<"error">>),
    ?assertEqual([], listed(Context)),
    ?assertEqual([], filelib:wildcard("*.gz*", binary_to_list(backup_site:dir(Context)))),
    #{failure := #{kind := <<"no_password">>, message := Message}} = backup_status:read(Context),
    ?assertNotEqual(nomatch, string:find(Message, "backup_encrypt_password")).

%% A database that does not answer is no site without settings.
never_plain_by_mistake(Config) ->
    Context = ?config(context, Config),
    with_database(test_site:dump(""), Config),
    backup_host:put_config(encrypt_backups, <<"1">>),
    backup_host:put_config(backup_encrypt_password, <<"correct horse">>),
    ok = mod_backup:start_backup(Context),
    backup_host:await(<<"completed">>),
    Before = test_site:files(backup_site:dir(Context)),
    host:set(is_database_down, true),
    ok = started(true, Context),
    backup_host:await(<<"error">>),
    ?assertMatch(#{failure := #{kind := <<"database">>}}, backup_status:read(Context)),
    ?assertEqual(Before, maps:without(["backup.json.status"], test_site:files(backup_site:dir(Context)))),
    %% Nor is another password made then.
    ?assertEqual({error, database}, backup_config:ensure_encrypt_password(Context)),
    host:set(is_database_down, false),
    ?assertEqual(<<"correct horse">>, backup_config:encrypt_password(Context)).

verifies(Config) ->
    Context = ?config(context, Config),
    #{name := Name} = backup_host:backup(Context),
    ok = mod_backup:verify_backup(Name, Context),
    backup_host:await(<<"verify_started">>),
    backup_host:await(<<"verified">>),
    ?assertMatch([#{name := Name, verified := #{ok := true, at := {_, _}}}], listed(Context)),
    %% A new backup is not the one that was proven.
    timer:sleep(1100),
    _ = backup_host:backup(Context),
    ?assertMatch([#{verified := undefined}], listed(Context)),
    ok = idle(Context),
    ok = mod_backup:verify_backup(<<"other-1">>, Context),
    backup_host:await(<<"verify_error">>).

verify_of_a_damaged_one(Config) ->
    Context = ?config(context, Config),
    #{name := Name, files := #{file := File}} = backup_host:backup(Context),
    damage(filename:join(backup_site:dir(Context), File)),
    ok = mod_backup:verify_backup(Name, Context),
    backup_host:await(<<"verified">>),
    [#{verified := #{ok := false, problem := Problem}}] = listed(Context),
    ?assertNotEqual(nomatch, string:find(Problem, File)),
    ?assertMatch([#{is_verified := false, verified_at := {_, _}}],
                 mod_backup:observe_backup_list(backup_list, Context)).

restores(Config) ->
    Context = ?config(context, Config),
    #{name := Name} = backup_host:backup(Context),
    fake_restore(fun(Request, RestoredName, Options) ->
        ?assertMatch(#{site := <<"testsite">>, media_dir := _, config_files := [_], security_dir := _}, Request),
        ?assertEqual({Name, #{only => [config, database]}}, {RestoredName, Options}),
        {ok, #{backup => #{}, restored => [database], skipped => [], warnings => []}}
    end),
    ?assertEqual(ok, mod_backup:observe_backup_restore({backup_restore, Name, [database, config]}, Context)),
    backup_host:await(<<"restore_started">>),
    receive {host, paused} -> ok after 1000 -> error(never_paused) end,
    backup_host:await(<<"restored">>),
    receive {host, {restart, testsite}} -> ok after 1000 -> error(never_restarted) end,
    %% The server goes away with the site: the one who asked gets an answer all the same.
    meck:new(z_sites_manager, [passthrough]),
    meck:expect(z_sites_manager, restart, fun(_) ->
        ok = gen_server:stop('mod_backup$testsite'),
        {error, failed}
    end),
    ?assertEqual({error, failed}, mod_backup:restore_backup(Name, [database, config], Context)),
    receive {host, unpaused} -> ok after 0 -> error(still_paused) end.

%% A shell asks for the database and the files of every backup.
restores_what_there_is(Config) ->
    Context = ?config(context, Config),
    Self = self(),
    fake_restore(fun(_, Name, #{only := Parts}) -> Self ! {asked, Name, Parts}, {error, usage, <<"no">>} end),
    Asked = fun(Name, Parts) ->
        _ = mod_backup:observe_backup_restore({backup_restore, Name, Parts}, Context),
        receive {asked, Name, Asked} -> Asked after 5000 -> error(never) end
    end,
    #{name := Files} = backup_host:backup(#{day => {2026, 11, 20}}, Context),
    ?assertEqual([files], Asked(Files, [database, files])),
    with_database(test_site:dump(""), Config),
    #{name := All, files := #{file := File}} = backup_host:backup(#{day => {2026, 11, 21}}, Context),
    ?assertEqual([database, files], Asked(All, [database, files])),
    ok = file:delete(filename:join(backup_site:dir(Context), File)),
    ?assertEqual([database, files], Asked(All, [database, files])),
    timer:sleep(1100),
    #{name := Database} = backup_host:backup(#{day => {2026, 11, 23}, media_dir => undefined}, Context),
    ?assertEqual([database], Asked(Database, [files, database])),
    ?assertEqual([database], Asked(<<"recent">>, [database, files])),
    %% What is asked for by name is wanted.
    ?assertEqual([files], Asked(Database, [files])),
    ?assertEqual([config, database, files], Asked(Database, [database, files, config])).

%% Whoever dies while the database is replaced, the site can go on.
never_paused_for_ever(Config) ->
    Context = ?config(context, Config),
    Self = self(),
    meck:expect(zbackup, restore, fun(_, _, _) -> {ok, fake} end),
    meck:expect(zbackup, await, fun(fake, Tell, Acc) ->
        _ = Tell(#{phase => load, done => 0, total => undefined, rate => 0}, Acc),
        Self ! {loading, self()},
        receive never -> ok end
    end),
    Loading = fun() ->
        _ = spawn(fun() -> mod_backup:restore_backup(Context) end),
        receive {host, paused} -> ok after 5000 -> error(never_paused) end,
        receive {loading, Pid} -> Pid after 5000 -> error(never_loading) end
    end,
    Unpaused = fun() -> receive {host, unpaused} -> ok after 5000 -> error(paused_for_ever) end end,
    exit(Loading(), kill),
    Unpaused(),
    ok = idle(Context),
    _ = Loading(),
    gen_server:stop('mod_backup$testsite'),
    Unpaused(),
    process_flag(trap_exit, true),
    _ = backup_host:server(Context),
    _ = Loading(),
    exit(whereis('mod_backup$testsite'), kill),
    Unpaused().

%% The password is in the database that is replaced.
password_survives_a_restore(Config) ->
    Context = ?config(context, Config),
    with_database(test_site:dump(""), Config),
    Restore = fun(Parts, Before, After) ->
        host:set(config, Before),
        fake_restore(fun(_, _, _) ->
            host:set(config, After),
            {ok, #{backup => #{}, restored => Parts, skipped => [], warnings => []}}
        end),
        ok = mod_backup:restore_backup(<<"x">>, Parts, Context),
        {ok, #{is_on := IsOn, password := Password}} = backup_config:encryption(Context),
        {IsOn, Password}
    end,
    Settings = fun(On, Password) ->
        #{{mod_backup, encrypt_backups} => On, {mod_backup, backup_encrypt_password} => Password}
    end,
    On = Settings(<<"1">>, <<"now">>),
    ?assertEqual({true, <<"now">>}, Restore([database], On, #{})),
    ?assertEqual({true, <<"now">>}, Restore([database], On, Settings(<<"1">>, <<"then">>))),
    ?assertEqual({true, <<"now">>}, Restore([database], On, Settings(<<"0">>, <<"now">>))),
    %% It opens the newer backups, also when the newest are not encrypted.
    ?assertEqual({false, <<"now">>}, Restore([database], Settings(<<"0">>, <<"now">>), #{})),
    %% There was none.
    ?assertEqual({true, <<"then">>}, Restore([database], #{}, Settings(<<"1">>, <<"then">>))),
    %% A database that is lost is what a restore is for.
    fake_restore(fun(_, _, _) ->
        host:set(is_database_down, false),
        {ok, #{backup => #{}, restored => [], skipped => [], warnings => []}}
    end),
    host:set(is_database_down, true),
    ?assertEqual(ok, mod_backup:restore_backup(<<"x">>, [database], Context)).

restore_that_fails(Config) ->
    Context = ?config(context, Config),
    fake_restore(fun(_, _, _) -> {error, damaged, <<"it is damaged">>} end),
    ?assertEqual({error, {damaged, <<"it is damaged">>}}, mod_backup:restore_backup(Context)),
    backup_host:await(<<"restore_error">>),
    receive {host, unpaused} -> ok after 1000 -> error(still_paused) end,
    receive {host, {restart, _}} -> error(restarted) after 0 -> ok end,
    meck:expect(zbackup, await, fun({fake, _}, Tell, Acc) ->
        _ = Tell(#{phase => load, done => 0, total => undefined, rate => 0}, Acc),
        error(crash)
    end),
    ?assertMatch({error, {internal, _}}, mod_backup:restore_backup(Context)),
    receive {host, unpaused} -> ok after 1000 -> error(still_paused_after_a_crash) end,
    meck:expect(zbackup, restore, fun(_, _, _) -> {error, unknown_backup, <<"none">>} end),
    ?assertEqual({error, unknown_backup}, mod_backup:restore_backup(<<"x">>, [files], Context)).

%% Whoever looks at the page later sees what went wrong, until it goes well.
failures_are_shown(Config) ->
    Context = ?config(context, Config),
    Failures = fun() ->
        {ok, {Failures, []}} = m_backup:m_get([<<"failures">>], undefined, Context),
        [{Kind, Message} || #{kind := Kind, message := Message, at := {_, _}} <- Failures]
    end,
    ?assertEqual([], Failures()),
    #{name := Name} = backup_host:backup(Context),
    ok = mod_backup:verify_backup(<<"other-1">>, Context),
    backup_host:await(<<"ended">>),
    ?assertMatch([{verify, _}], Failures()),
    fake_restore(fun(_, _, _) -> {error, damaged, <<"it is damaged">>} end),
    {error, _} = mod_backup:restore_backup(<<"x">>, [files], Context),
    ?assertMatch([{restore, <<"it is damaged">>}, {verify, _}], lists:sort(Failures())),
    ok = idle(Context),
    ok = mod_backup:verify_backup(Name, Context),
    idle(Context),
    ?assertMatch([{restore, _}], Failures()),
    %% Also when the site was started again.
    gen_server:stop('mod_backup$testsite'),
    _ = backup_host:server(Context),
    ?assertMatch([{restore, <<"it is damaged">>}], Failures()),
    fake_restore(fun(_, _, _) -> {ok, #{backup => #{}, restored => [], skipped => [], warnings => []}} end),
    ok = mod_backup:restore_backup(<<"x">>, [files], Context),
    ?assertEqual([], Failures()).

%% A restore that the power cut off, and that could not be completed.
interrupted_restore_is_shown(Config) ->
    Context = ?config(context, Config),
    gen_server:stop('mod_backup$testsite'),
    Settling = fun(Result) ->
        meck:expect(zbackup, settle, fun(_) -> {ok, {fake, Result}} end),
        meck:expect(zbackup, await, fun({fake, Fake}, _, Acc) -> {Fake, Acc} end),
        _ = backup_host:server(Context),
        gen_server:stop('mod_backup$testsite'),
        [{Kind, Message} || #{kind := Kind, message := Message} <- mod_backup:failures(Context)]
    end,
    Settled = fun(IsCompleted) ->
        {ok, #{settled => #{backup => <<"testsite-3">>, completed => IsCompleted, skipped => []}}}
    end,
    [{restore, TakenBack}] = Settling(Settled(false)),
    ?assertNotEqual(nomatch, string:find(TakenBack, "testsite-3")),
    ?assertEqual([{restore, TakenBack}], Settling({ok, #{settled => undefined}})),
    ?assertEqual([], Settling(Settled(true))),
    ?assertEqual([{restore, <<"why">>}], Settling({error, io, <<"why">>})),
    ?assertEqual([{restore, <<"why">>}], Settling({error, in_progress, <<"by PID 1">>})).

restore_options(Config) ->
    Context = ?config(context, Config),
    Self = self(),
    fake_restore(fun(Request, Name, Options) ->
        Self ! {asked, Name, Options, maps:get(encryption, Request, none)},
        {error, usage, <<"no">>}
    end),
    backup_host:put_config(backup_encrypt_password, <<"pw">>),
    _ = mod_backup:restore_backup(Context),
    _ = mod_backup:restore_backup(<<"recent">>, [], Context),
    Expected = {asked, <<"recent">>, #{only => [database, files]}, #{password => <<"pw">>}},
    receive Expected -> ok after 0 -> error(first) end,
    receive Expected -> ok after 0 -> error(second) end,
    ?assertEqual({error, {unknown_option, everything}},
                 mod_backup:restore_backup(<<"recent">>, [database, everything], Context)),
    %% What a shell may give.
    ?assertEqual([{error, {invalid_options, Options}} || Options <- [database, #{}, [database | files]]],
                 [mod_backup:observe_backup_restore({backup_restore, <<"recent">>, Options}, Context)
                  || Options <- [database, #{}, [database | files]]]),
    ?assertEqual([{error, {invalid_name, Name}} || Name <- [other, 7, [-1]]],
                 [mod_backup:observe_backup_restore({backup_restore, Name, [files]}, Context)
                  || Name <- [other, 7, [-1]]]),
    _ = mod_backup:observe_backup_restore({backup_restore, "x-1", [files]}, Context),
    receive {asked, <<"x-1">>, #{only := [files]}, _} -> ok after 0 -> error(third) end,
    _ = mod_backup:restore_backup("x-1", [{timestamp, 17}, files], Context),
    receive {asked, <<"x-1">>, #{only := [files], timestamp := 17}, _} -> ok after 0 -> error(fourth) end,
    _ = mod_backup:restore_backup("x-1", [{timestamp, 17}], Context),
    receive {asked, <<"x-1">>, #{only := [database, files], timestamp := 17}, _} -> ok after 0 -> error(fifth) end,
    ?assertEqual({error, {unknown_option, {timestamp, soon}}},
                 mod_backup:restore_backup("x-1", [{timestamp, soon}], Context)).

settles_at_start(Config) ->
    Context = ?config(context, Config),
    gen_server:stop('mod_backup$testsite'),
    Self = self(),
    meck:expect(zbackup, settle, fun(Request) ->
        Self ! {settling, Request, self()},
        receive go -> {error, not_found, <<"nothing">>} end
    end),
    {ok, _} = mod_backup:start_link([{context, Context}]),
    Worker = receive {settling, #{site := <<"testsite">>}, Pid} -> Pid after 5000 -> error(never) end,
    ?assertMatch(#{kind := settle}, mod_backup:running(Context)),
    ?assertEqual({error, in_progress}, mod_backup:start_backup(Context)),
    Worker ! go,
    ok = idle(Context).

%% Another program has the folder at the start.
settles_later(Config) ->
    Context = ?config(context, Config),
    gen_server:stop('mod_backup$testsite'),
    Self = self(),
    meck:expect(zbackup, settle, fun(_) -> Self ! settling, {error, in_progress, <<"by PID 1">>} end),
    Server = backup_host:server(Context),
    receive settling -> ok after 5000 -> error(never) end,
    Server ! check,
    receive settling -> ok after 5000 -> error(never_again) end,
    ok = idle(Context),
    meck:expect(zbackup, settle, fun(_) -> Self ! settled, {error, not_found, <<"nothing">>} end),
    Server ! check,
    receive settled -> ok after 5000 -> error(never_settled) end,
    ok = idle(Context),
    Server ! check,
    _ = sys:get_state(Server),
    receive settled -> error(settled_again) after 100 -> ok end.

%% Both see that there is no queue, and one comes first.
queues_of_two_sites(Config) ->
    Context = ?config(context, Config),
    gen_server:stop('mod_backup$testsite'),
    _ = [persistent_term:erase({host, {queue, Queue}}) || Queue <- [mod_backup, mod_backup_status]],
    meck:new(jobs, [passthrough]),
    meck:expect(jobs, add_queue, fun(Queue, Options) ->
        ok = meck:passthrough([Queue, Options]),
        error({queue_exists, Queue})
    end),
    ?assert(is_pid(backup_host:server(Context))).

download(Config) ->
    ?assertEqual({error, not_env_backup},
                 mod_backup:observe_backup_download(backup_download, ?config(context, Config))).

%% Helpers

%% A logger handler.
log(Event, #{config := #{pid := Pid}}) ->
    Pid ! {logged, Event}.

with_database(Script, Config) ->
    #{pg_dump := PgDump} = test_site:pg_dump(?config(dir, Config), "pg_dump", Script),
    host:set(pg_dump, PgDump),
    host:set(database, [{dbdatabase, "db"}, {dbuser, "nobody"}, {dbpassword, ""}, {dbhost, "localhost"},
                        {dbport, 5432}, {dbschema, "public"}]).

fake_restore(Fun) ->
    meck:expect(zbackup, restore, fun(Request, Name, Options) -> {ok, {fake, Fun(Request, Name, Options)}} end),
    meck:expect(zbackup, await, fun
        ({fake, Result}, Tell, Acc) ->
            Progress = #{phase => load, done => 0, total => undefined, rate => 0},
            {Result, Tell(Progress, Acc)};
        (Job, Tell, Acc) ->
            meck:passthrough([Job, Tell, Acc])
    end).

damage(Path) ->
    {ok, <<Start:100/binary, Byte, Rest/binary>>} = file:read_file(Path),
    test_site:write(Path, <<Start/binary, (Byte bxor 1), Rest/binary>>).

listed(Context) ->
    [Backup || Backup <- mod_backup:list_backups(Context), not maps:is_key(is_running, Backup)].

started(IsFull, Context) ->
    ok = idle(Context),
    mod_backup:start_backup(IsFull, Context).

idle(Context) ->
    test_site:until(fun() -> mod_backup:running(Context) =:= undefined end).

%% The server has looked whether it is time, and has acted on it.
sync() ->
    Server = whereis('mod_backup$testsite'),
    Server ! check,
    test_site:until(fun() ->
        {links, Links} = process_info(Server, links),
        [Pid || Pid <- Links, is_pid(Pid), Pid =/= self(), Pid =/= whereis('backup_copier$testsite')] =:= []
    end).
