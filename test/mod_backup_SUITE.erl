%% @doc The server of the Zotonic module and its jobs, in the stand-in for Zotonic.
-module(mod_backup_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").
-include_lib("zotonic_core/include/zotonic_file.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([log/2]).
-export([is_a_module/1, lists_backups/1, list_that_cannot_be_read/1, lists_for_a_shell/1]).
-export([backup_by_hand/1, one_at_a_time/1, only_the_database/1, media_in_a_file_store/1,
         survives_a_killed_job/1, survives_a_crash/1, job_ends_with_the_server/1, not_in_backup_env/1,
         not_running/1]).
-export([encrypted/1, encrypted_without_password/1, never_plain_by_mistake/1, encrypted_as_it_is_when_it_begins/1]).
-export([verifies/1, verify_of_a_damaged_one/1]).
-export([queues_of_two_sites/1, download/1]).

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
    backup_host:with_database(test_site:dump(""), ?config(dir, Config)),
    ?assertEqual(ok, mod_backup:observe_backup_start(backup_start, Context)),
    _ = [backup_host:await(Status) || Status <- [
        <<"started">>, <<"sql_backup_started">>, <<"archive_backup_started">>, <<"made">>, <<"completed">>]],
    test_site:until(fun() -> not mod_backup:backup_in_progress(Context) end),
    ?assertMatch([#{is_database_present := true, is_files_present := true, is_config_files_present := true,
                    verified := undefined}], mod_backup:list_backups(Context)),
    ?assertEqual([], backup_host:mails()).

one_at_a_time(Config) ->
    Context = ?config(context, Config),
    Waits = ["touch $DIR/dumping\n", test_site:dump("while [ ! -e $DIR/go ]; do sleep 0.05; done")],
    backup_host:with_database(Waits, ?config(dir, Config)),
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
    backup_host:with_database(test_site:dump(""), ?config(dir, Config)),
    ok = mod_backup:start_backup(false, Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([#{is_database_present := true, is_files_present := false}], backup_host:listed(Context)),
    ok = started(true, Context),
    backup_host:await(<<"completed">>),
    [#{timestamp := Full}] = backup_host:listed(Context),
    timer:sleep(1100),
    ok = started(false, Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([#{is_database_present := true, is_files_present := true, files_timestamp := Full}],
                 backup_host:listed(Context)).

media_in_a_file_store(Config) ->
    Context = ?config(context, Config),
    _ = backup_host:backup(Context),
    ?assertMatch([#{is_files_present := true}], backup_host:listed(Context)),
    host:set(observer, fun(#filestore_credentials_lookup{}, _) -> {ok, #filestore_credentials{}} end),
    ok = mod_backup:start_backup(Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([#{is_files_present := false, files_file := undefined}], backup_host:listed(Context)),
    %% One in trouble stops nothing, and then the media files are backed up.
    host:set(observer, fun(_, _) -> error(store_is_gone) end),
    ok = started(true, Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([#{is_files_present := true}], backup_host:listed(Context)).

survives_a_killed_job(Config) ->
    Context = ?config(context, Config),
    #{name := Name} = backup_host:backup(Context),
    Waits = ["touch $DIR/dumping\n", test_site:dump("while [ ! -e $DIR/go ]; do sleep 0.05; done")],
    backup_host:with_database(Waits, ?config(dir, Config)),
    Server = whereis('mod_backup$testsite'),
    ok = mod_backup:start_backup(Context),
    test_site:until(fun() -> filelib:is_regular(filename:join(?config(dir, Config), "dumping")) end),
    {links, Links} = process_info(Server, links),
    [Worker] = [Pid || Pid <- Links, is_pid(Pid), Pid =/= self(), Pid =/= whereis('backup_copier$testsite')],
    exit(Worker, kill),
    backup_host:await(<<"error">>),
    ?assertEqual(Server, whereis('mod_backup$testsite')),
    ?assertMatch(#{failure := #{kind := <<"internal">>}}, backup_status:read(Context)),
    ?assertMatch([#{name := Name, is_files_present := true}], backup_host:listed(Context)),
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
    backup_host:with_database(["echo $$ > $DIR/pid\n", test_site:dump("sleep 60")], ?config(dir, Config)),
    ok = mod_backup:start_backup(Context),
    PidFile = filename:join(?config(dir, Config), "pid"),
    test_site:until(fun() -> filelib:file_size(PidFile) > 0 end),
    gen_server:stop('mod_backup$testsite'),
    test_site:until(fun() -> not test_site:is_alive(PidFile) end),
    Staging = filename:join(backup_site:dir(Context), ".staging"),
    test_site:until(fun() -> not filelib:is_dir(Staging) end),
    ?assertEqual([], backup_host:listed(Context)).

not_in_backup_env(Config) ->
    Context = ?config(context, Config),
    gen_server:stop('mod_backup$testsite'),
    host:set(environment, backup),
    backup_host:put_config(daily_dump, <<"1">>),
    _ = backup_host:server(Context),
    ?assertEqual({error, env_backup}, mod_backup:start_backup(Context)),
    sync(),
    ?assertEqual([], backup_host:listed(Context)).

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
    ?assertMatch([#{is_encrypted := true}], backup_host:listed(Context)),
    {ok, Files} = file:list_dir(backup_site:dir(Context)),
    ?assertEqual([], [File || File <- Files, filename:extension(File) =:= ".gz"]),
    %% Switched off again, what was encrypted before can still be opened.
    backup_host:put_config(encrypt_backups, <<"0">>),
    [#{name := Name}] = backup_host:listed(Context),
    ok = backup_host:idle(Context),
    ok = mod_backup:verify_backup(Name, Context),
    backup_host:await(<<"verified">>),
    ?assertMatch([#{verified := #{ok := true}}], backup_host:listed(Context)).

encrypted_without_password(Config) ->
    Context = ?config(context, Config),
    backup_host:put_config(encrypt_backups, <<"1">>),
    ok = mod_backup:start_backup(Context),
    backup_host:await(<<"error">>),
    ?assertEqual([], backup_host:listed(Context)),
    ?assertEqual([], filelib:wildcard("*.gz*", binary_to_list(backup_site:dir(Context)))),
    #{failure := #{kind := <<"no_password">>, message := Message}} = backup_status:read(Context),
    ?assertNotEqual(nomatch, string:find(Message, "backup_encrypt_password")).

%% A database that does not answer is no site without settings.
never_plain_by_mistake(Config) ->
    Context = ?config(context, Config),
    backup_host:with_database(test_site:dump(""), ?config(dir, Config)),
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
    ?assertMatch([#{name := Name, verified := #{ok := true, at := {_, _}}}], backup_host:listed(Context)),
    %% A new backup is not the one that was proven.
    timer:sleep(1100),
    _ = backup_host:backup(Context),
    ?assertMatch([#{verified := undefined}], backup_host:listed(Context)),
    ok = backup_host:idle(Context),
    ok = mod_backup:verify_backup(<<"other-1">>, Context),
    backup_host:await(<<"verify_error">>).

verify_of_a_damaged_one(Config) ->
    Context = ?config(context, Config),
    #{name := Name, files := #{file := File}} = backup_host:backup(Context),
    damage(filename:join(backup_site:dir(Context), File)),
    ok = mod_backup:verify_backup(Name, Context),
    backup_host:await(<<"verified">>),
    [#{verified := #{ok := false, problem := Problem}}] = backup_host:listed(Context),
    ?assertNotEqual(nomatch, string:find(Problem, File)),
    ?assertMatch([#{is_verified := false, verified_at := {_, _}}],
                 mod_backup:observe_backup_list(backup_list, Context)).

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

damage(Path) ->
    {ok, <<Start:100/binary, Byte, Rest/binary>>} = file:read_file(Path),
    test_site:write(Path, <<Start/binary, (Byte bxor 1), Rest/binary>>).

started(IsFull, Context) ->
    ok = backup_host:idle(Context),
    mod_backup:start_backup(IsFull, Context).

%% The server has looked whether it is time, and has acted on it.
sync() ->
    Server = whereis('mod_backup$testsite'),
    Server ! check,
    test_site:until(fun() ->
        {links, Links} = process_info(Server, links),
        [Pid || Pid <- Links, is_pid(Pid), Pid =/= self(), Pid =/= whereis('backup_copier$testsite')] =:= []
    end).
