%% @doc Two nodes with a database each, and a store between them: the one follows the other, takes over, and is
%% followed in turn. What docs/operations.md says about a failover is done here, step by step.
-module(backup_replica_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([failover/1, unencrypted_is_refused/1]).
-export([mark_comes_first/1, only_what_is_newer/1, not_when_nothing_proves_it/1]).
-export([not_into_the_primary/1, not_into_the_primary_after_a_crash/1, not_started_again/1, interrupted_and_completed/1, not_while_it_starts/1, primary_is_of_no_backup/1,
         not_known_what_was_restored/1]).

-import(site_node, [call/4]).

suite() ->
    [{timetrap, {minutes, 5}}].

all() ->
    [failover, unencrypted_is_refused, mark_comes_first, only_what_is_newer, not_when_nothing_proves_it,
     not_into_the_primary, not_into_the_primary_after_a_crash, not_started_again, interrupted_and_completed, not_while_it_starts, primary_is_of_no_backup,
     not_known_what_was_restored].

init_per_suite(Config) ->
    case [Name || Name <- ["ZBACKUP_TEST_PG", "ZBACKUP_TEST_S3_ENDPOINT"], os:getenv(Name) =:= false] of
        [] -> Config;
        _ -> {skip, "run this by scripts/with-postgres scripts/with-s3"}
    end.

end_per_suite(_Config) ->
    ok.

init_per_testcase(Name, Config) ->
    Dir = test_site:dir(Name, Config),
    Databases = [database(Name, Of) || Of <- ["one", "two"]],
    [{dir, Dir}, {databases, Databases}, {prefix, lists:concat(["replica-", os:getpid(), "/", Name])} | Config].

end_per_testcase(_Name, Config) ->
    meck:unload(),
    backup_host:stop(),
    _ = [psql("postgres", "drop database if exists " ++ Database ++ " with (force)") || Database <- ?config(databases, Config)],
    ok.

failover(Config) ->
    [One, Two] = ?config(databases, Config),
    Store = store(Config),
    [SetUp, List, List, Download, Take, Stop, Start, ComeBack] = commands("A replica, and a failover"),
    %% The primary, and a new machine beside it.
    A = site("a", One, undefined, "primary", Config, Store),
    B = site("b", Two, undefined, "empty", Config, Store),
    #{dir := DirA} = A,
    #{dir := DirB} = B,
    NodeA = site_node:start(A),
    backup(NodeA),
    follow(SetUp, none, DirB),
    NodeB = site_node:start(B),
    restarted(1, NodeB),
    ?assertEqual("primary", rows(Two)),
    ?assertEqual(file(DirA, "archive/photo.jpg"), file(DirB, "archive/photo.jpg")),
    ?assertEqual(<<"key of primary">>, file(DirB, "site/security/key.pem")),
    %% The configuration is that of a primary; the mark keeps it a replica.
    ?assertEqual(file(DirA, "site/priv/zotonic_site.config"), file(DirB, "site/priv/zotonic_site.config")),
    ?assert(filelib:is_regular(filename:join(DirB, "site/priv/BACKUP"))),
    ?assertEqual(backup, call(NodeB, host, get, [environment, none])),
    %% Its settings are its own.
    ?assertEqual({error, env_backup}, on(NodeB, mod_backup, start_backup, [])),

    %% Nothing changed: nothing is restored, when the site starts and when somebody asks.
    looked(NodeB),
    download(NodeB),
    looked(NodeB),
    ?assertEqual(1, call(NodeB, site_node, restarts, [])),

    %% One cycle.
    timer:sleep(1100),
    _ = psql(One, "insert into site.rsc values ('more')"),
    test_site:write(filename:join(DirA, "archive/2026/new.jpg"), <<"new">>),
    backup(NodeA),
    follow(Download, NodeB, DirB),
    restarted(2, NodeB),
    ?assertEqual("more primary", rows(Two)),
    ?assertEqual(<<"new">>, file(DirB, "archive/2026/new.jpg")),
    looked(NodeB),
    [#{name := <<"(replica)">>} = Shown | [_ | _]] = follow(List, NodeB, DirB),
    ?assertMatch(#{restored := <<"testsite-", _/binary>>, restored_at := {_, _}, timestamp := {_, _},
                   behind := <<_, " min">>, looked_at := {_, _}}, Shown),
    ?assertNot(maps:is_key(problem, Shown)),
    {ok, {#{is_behind := false, behind := <<_, " min">>}, []}} =
        call(NodeB, m_backup, m_get, [[<<"replica">>], undefined, call(NodeB, site_node, context, [])]),

    %% The primary dies. What it wrote since its last backup is lost.
    site_node:stop(NodeA),
    ok = follow(Take, NodeB, DirB),
    ok = follow(Stop, NodeB, DirB),
    NewB = follow(Start, B, DirB),
    ?assertEqual(production, call(NewB, host, get, [environment, none])),
    ?assertEqual([], [It || #{name := <<"(replica)">>} = It <- follow(List, NewB, DirB)]),
    _ = psql(Two, "insert into site.rsc values ('after')"),
    test_site:write(filename:join(DirB, "archive/after.jpg"), <<"after">>),
    timer:sleep(1100),
    backup(NewB),

    %% It comes back, as the replica.
    follow(ComeBack, none, DirA),
    NodeA2 = site_node:start(A),
    restarted(1, NodeA2),
    ?assertEqual("after more primary", rows(One)),
    ?assertEqual(<<"after">>, file(DirA, "archive/after.jpg")),
    ?assertEqual(backup, call(NodeA2, host, get, [environment, none])),
    site_node:stop(NodeA2),
    site_node:stop(NewB).

%% Whoever can write to the store cannot make a replica take what nobody has authenticated.
unencrypted_is_refused(Config) ->
    [One, Two] = ?config(databases, Config),
    Store = store(Config),
    A = site("a", One, "production", "primary", Config, Store),
    B = site("b", Two, "backup", "empty", Config, Store),
    #{config := #{} = Settings} = A,
    NodeA = site_node:start(A#{config := Settings#{encrypt_backups => <<"0">>}}),
    backup(NodeA),
    NodeB = site_node:start(B),
    looked(NodeB),
    ?assertEqual(0, call(NodeB, site_node, restarts, [])),
    ?assertEqual("empty", rows(Two)),
    ?assertMatch([#{kind := download, message := _}], on(NodeB, mod_backup, failures, [])),
    [#{message := Message}] = on(NodeB, mod_backup, failures, []),
    ?assertNotEqual(nomatch, string:find(Message, "is not encrypted")),
    [#{problem := Message}] = on(NodeB, mod_backup, observe_backup_list, [backup_list]),
    site_node:stop(NodeA),
    site_node:stop(NodeB).

%% The configuration of the primary must not make a second primary of the site, whenever the node stops.
mark_comes_first(Config) ->
    Context = backup_host:start(?config(dir, Config)),
    #{name := Name} = backup_host:backup(Context),
    host:set(environment, backup),
    _ = backup_host:server(Context),
    Mark = filename:join(?config(dir, Config), "site/priv/BACKUP"),
    meck:new(zbackup, [passthrough, no_link]),
    Self = self(),
    meck:expect(zbackup, restore, fun(_, _, _) ->
        Self ! {restoring, filelib:is_regular(Mark)},
        {error, damaged, <<"it is damaged">>}
    end),
    ?assertMatch({error, {damaged, _}}, mod_backup:restore_backup(Name, [config], Context)),
    receive {restoring, true} -> ok after 0 -> error(no_mark) end,
    ?assertMatch(#{restored := undefined, behind := undefined, is_behind := false}, backup_replica:state(Context)),
    %% Where it cannot be written nothing is restored; nor where nobody could remember what was.
    ok = file:delete(Mark),
    ok = file:make_dir(Mark),
    {error, {io, Message}} = mod_backup:restore_backup(Name, [config], Context),
    ?assertNotEqual(nomatch, string:find(Message, "priv/BACKUP")),
    ok = file:del_dir(Mark),
    meck:expect(zbackup, set_status, fun(_, _) -> {error, no_space, <<"No space left on device">>} end),
    ?assertMatch({error, {no_space, _}}, mod_backup:restore_backup(Name, [config], Context)),
    receive {restoring, _} -> error(restored) after 0 -> ok end,
    %% Any other site has no mark.
    backup_host:stop(),
    Site = backup_host:start(?config(dir, Config), #{}),
    ok = file:delete(Mark),
    {error, _} = mod_backup:restore_backup(Name, [config], Site),
    receive {restoring, false} -> ok after 0 -> error(marked) end.

%% Whatever a store says: what was restored is not restored again, nor what is older.
only_what_is_newer(Config) ->
    Context = backup_host:start(?config(dir, Config)),
    #{name := Name, timestamp := Time} = backup_host:backup(Context),
    host:set(environment, backup),
    meck:new(mod_backup, [passthrough, no_link]),
    Self = self(),
    meck:expect(mod_backup, restore_backup, fun(Asked, Parts, _) -> Self ! {asked, Asked, Parts}, ok end),
    Restore = fun(At) ->
        ok = backup_replica:restore(#{name => Name, timestamp => At, is_proven => true, is_new => true}, Context),
        receive {asked, Name, [{timestamp, At} | Parts]} -> Parts after 0 -> nothing end
    end,
    ?assertEqual(nothing, begin ok = backup_replica:restore(undefined, Context), receive _ -> it after 0 -> nothing end end),
    ?assertEqual([files, config, security], Restore(Time)),
    ok = backup_replica:restored([files, config, security], #{backup => #{name => Name, timestamp => Time}}, Context),
    ?assertEqual(nothing, Restore(Time)),
    ?assertEqual(nothing, Restore(Time - 1)),
    ?assertEqual([files, config, security], Restore(Time + 1)),
    %% Some files that somebody brought back by hand are not what the site is of.
    ok = backup_replica:restored([files], #{backup => #{name => Name, timestamp => Time + 9, database => #{}}}, Context),
    ?assertMatch(#{restored := #{name := Name, timestamp := Time}}, backup_status:read(Context)),
    ?assertMatch(#{restored := #{name := Name, made := {_, _}}, is_behind := false, looked_at := undefined},
                 backup_replica:state(Context)),
    %% A failure of a backup leaves that as it is, and the other way round.
    ok = backup_status:failed(manual, database, <<"why">>, Context),
    ?assertMatch(#{restored := #{timestamp := Time}, failure := #{message := <<"why">>}}, backup_status:read(Context)),
    host:set(environment, production),
    ?assertEqual(undefined, backup_replica:state(Context)),
    ?assertEqual([], backup_replica:plain(Context)).

not_when_nothing_proves_it(Config) ->
    Context = backup_host:start(?config(dir, Config)),
    #{name := Name, timestamp := Time} = backup_host:backup(Context),
    host:set(environment, backup),
    Newest = #{name => Name, timestamp => Time, is_proven => false, is_new => true},
    ?assertMatch({error, damaged, _}, backup_replica:restore(Newest, Context)).

%% The configuration that was restored is that of the primary, and may name its database.
not_into_the_primary(Config) ->
    Context = backup_host:start(?config(dir, Config)),
    #{name := Name, timestamp := Time} = backup_host:backup(Context),
    host:set(environment, backup),
    database_on("own.example"),
    ok = backup_replica:restored([database], #{backup => #{name => Name, timestamp => Time}}, Context),
    ?assertEqual(ok, backup_replica:prepare([database, config], Context)),
    database_on(<<"primary.example">>),
    %% What is remembered of another restore does not change whose database it is.
    ok = backup_replica:restored([config], #{backup => #{name => Name, timestamp => Time + 1}}, Context),
    ?assertMatch(#{restored := #{timestamp := T}} when T =:= Time + 1, backup_status:read(Context)),
    {error, usage, Message} = backup_replica:prepare([database, config], Context),
    _ = [?assertNotEqual(nomatch, string:find(Message, Word)) || Word <- ["own.example", "primary.example", "backup.json.status"]],
    ?assertEqual(nomatch, string:find(Message, "hush")),
    ?assertEqual(ok, backup_replica:prepare([files], Context)),
    %% As the message says.
    ok = file:delete(filename:join(backup_site:dir(Context), "backup.json.status")),
    ?assertEqual(ok, backup_replica:prepare([database], Context)).

%% The node went down after the configuration was placed, and before anybody knew of the restore: it starts on the
%% database of the primary. So it does after the configuration alone was restored.
not_into_the_primary_after_a_crash(Config) ->
    Context = backup_host:start(?config(dir, Config)),
    host:set(environment, backup),
    Status = filename:join(backup_site:dir(Context), "backup.json.status"),
    _ = [
        begin
            Own(),
            ?assertEqual(ok, backup_replica:prepare(Parts, Context)),
            ?assertMatch(#{restored := undefined}, backup_replica:state(Context)),
            [Shown] = backup_replica:plain(Context),
            ?assertNot(maps:is_key(restored, Shown)),
            database_on("primary.example"),
            ?assertMatch({error, usage, _}, backup_replica:prepare([database, config], Context)),
            %% Another time, also after it was a primary meanwhile.
            host:set(environment, production),
            ok = backup_status:started(false, Context),
            host:set(environment, backup),
            ?assertMatch({error, usage, _}, backup_replica:prepare([database, config], Context)),
            ok = file:delete(Status)
        end
     || Parts <- [[database, config], [config]],
        Own <- [fun() -> database_on("own.example") end, fun() -> host:set(database, [{dbdatabase, none}]) end]
    ].

database_on(Host) ->
    host:set(database, [{dbhost, Host}, {dbport, 5432}, {dbuser, "site"}, {dbpassword, "hush"}, {dbdatabase, "site"},
                        {dbschema, "public"}]).

%% What was restored is there, but the site goes on with what it had in memory: somebody has to know.
not_started_again(Config) ->
    Context = backup_host:start(?config(dir, Config)),
    #{name := Name, timestamp := Time} = backup_host:backup(Context),
    host:set(environment, backup),
    _ = backup_host:server(Context),
    meck:new(z_sites_manager, [passthrough, no_link]),
    _ = [
        begin
            meck:expect(z_sites_manager, restart, Restart),
            ?assertMatch({error, _}, mod_backup:restore_backup(Name, [files, config], Context)),
            ?assertMatch(#{restored := #{timestamp := Time}}, backup_status:read(Context)),
            [#{kind := restore, message := Message} | _] =
                [Failure || #{kind := restore} = Failure <- mod_backup:failures(Context)],
            ?assertNotEqual(nomatch, string:find(Message, "restartsite testsite"))
        end
     || Restart <- [fun(_) -> {error, failed} end, fun(_) -> exit({timeout, {gen_server, call, [secret]}}) end]
    ],
    %% A replica tries again with the next round, though nothing is newer.
    Self = self(),
    meck:expect(z_sites_manager, restart, fun(testsite) -> Self ! started_again, ok end),
    Newest = #{name => Name, timestamp => Time, is_proven => true, is_new => false},
    ok = backup_replica:restore(Newest, Context),
    receive started_again -> ok after 10000 -> error(never_started) end,
    gen_server:stop('mod_backup$testsite'),
    _ = backup_host:server(Context),
    ?assertEqual([], [Failure || #{kind := restore} = Failure <- mod_backup:failures(Context)]),
    ok = backup_replica:restore(Newest, Context),
    receive started_again -> error(started_again) after 6000 -> ok end.

%% What was interrupted replaces what the site was just started with.
interrupted_and_completed(Config) ->
    Context = backup_host:start(?config(dir, Config)),
    _ = backup_host:backup(Context),
    meck:new(zbackup, [passthrough, no_link]),
    meck:new(z_sites_manager, [passthrough, no_link]),
    Self = self(),
    meck:expect(z_sites_manager, restart, fun(testsite) -> Self ! started_again, ok end),
    Settle = fun(IsCompleted, Patience) ->
        meck:expect(zbackup, settle, fun(_) -> {ok, make_ref()} end),
        meck:expect(zbackup, await, fun(_, _, Acc) ->
            {{ok, #{settled => #{backup => <<"testsite-1">>, completed => IsCompleted, skipped => []}}}, Acc}
        end),
        _ = backup_host:server(Context),
        Answer = receive started_again -> started_again after Patience -> nothing end,
        gen_server:stop('mod_backup$testsite'),
        Answer
    end,
    ?assertEqual(nothing, Settle(false, 6000)),
    ?assertEqual(started_again, Settle(true, 30000)).

%% Its configuration was read before the restore was completed: it is started again when it can be.
not_while_it_starts(Config) ->
    Context = backup_host:start(?config(dir, Config)),
    host:set(site_status, starting),
    Restart = backup_restart:start(Context),
    Self = self(),
    _ = spawn_link(fun() -> Self ! {awaited, backup_restart:await(Restart)} end),
    receive {host, {restart, testsite}} -> error(restarted) after 1500 -> ok end,
    host:set(site_status, running),
    receive {host, {restart, testsite}} -> ok after 5000 -> error(never_restarted) end,
    receive {awaited, ok} -> ok after 5000 -> error(never) end.

%% Back as a replica it has what it wrote meanwhile, and the newest backup is restored though it was once before.
primary_is_of_no_backup(Config) ->
    Context = backup_host:start(?config(dir, Config)),
    #{name := Name, timestamp := Time} = backup_host:backup(Context),
    host:set(environment, backup),
    ok = backup_replica:restored([files, config], #{backup => #{name => Name, timestamp => Time}}, Context),
    _ = backup_host:server(Context),
    ?assertMatch(#{restored := #{timestamp := Time}}, backup_status:read(Context)),
    gen_server:stop('mod_backup$testsite'),
    host:set(environment, production),
    _ = backup_host:server(Context),
    ?assertMatch(#{restored := #{timestamp := 0}}, backup_status:read(Context)),
    host:set(environment, backup),
    ?assertMatch(#{restored := undefined}, backup_replica:state(Context)),
    meck:new(mod_backup, [passthrough, no_link]),
    Self = self(),
    meck:expect(mod_backup, restore_backup, fun(Asked, _, _) -> Self ! {asked, Asked}, ok end),
    ok = backup_replica:restore(#{name => Name, timestamp => Time, is_proven => true, is_new => false}, Context),
    receive {asked, Name} -> ok after 0 -> error(not_restored) end.

not_known_what_was_restored(Config) ->
    Context = backup_host:start(?config(dir, Config)),
    #{name := Name, timestamp := Time} = backup_host:backup(Context),
    host:set(environment, backup),
    Status = filename:join(backup_site:dir(Context), "backup.json.status"),
    meck:new(mod_backup, [passthrough, no_link]),
    meck:expect(mod_backup, restore_backup, fun(_, _, _) -> error(restored) end),
    Refused = fun() ->
        {error, _, Message} = backup_replica:restore(
            #{name => Name, timestamp => Time, is_proven => true, is_new => true}, Context),
        ?assertNotEqual(nomatch, string:find(Message, "not known what was restored last")),
        ?assertMatch(#{failure := undefined}, backup_status:read(Context))
    end,
    ok = file:make_dir(Status),
    Refused(),
    ok = file:del_dir(Status),
    %% One that was cut may have said whose database it is: nothing takes its place, by whichever way.
    test_site:write(Status, "{\"told\":tr"),
    Refused(),
    ?assertMatch({error, damaged, _}, backup_replica:prepare([database], Context)),
    ok = backup_status:failed(manual, database, <<"why">>, Context),
    ?assertEqual({ok, <<"{\"told\":tr">>}, file:read_file(Status)),
    %% Any other site goes on: its failures are to be told.
    host:set(environment, production),
    ok = backup_status:failed(manual, database, <<"why">>, Context),
    ?assertMatch(#{failure := #{message := <<"why">>}}, backup_status:read(Context)).

%% Helpers

site(Name, Database, Environment, Content, Config, Store) ->
    Dir = filename:join(?config(dir, Config), Name),
    test_site:write(filename:join(Dir, "site/priv/zotonic_site.config"), case Environment of
        undefined -> "[].\n";
        _ -> ["[{environment, ", Environment, "}].\n"]
    end),
    test_site:write(filename:join(Dir, "site/security/key.pem"), ["key of ", Content]),
    test_site:write(filename:join(Dir, "archive/photo.jpg"), [Content, crypto:strong_rand_bytes(50000)]),
    _ = psql(Database, "create schema site; create table site.rsc as select '" ++ Content ++ "'::text as v"),
    #{
        dir => Dir,
        database => [
            {dbhost, os:getenv("PGHOST")}, {dbport, list_to_integer(os:getenv("PGPORT"))},
            {dbuser, os:getenv("PGUSER")}, {dbpassword, os:getenv("PGPASSWORD")},
            {dbdatabase, Database}, {dbschema, "site"}
        ],
        config => Store#{daily_dump => <<"0">>, encrypt_backups => <<"1">>, backup_encrypt_password => <<"correct horse">>}
    }.

store(Config) ->
    Env = fun(Name) -> list_to_binary(os:getenv("ZBACKUP_TEST_S3_" ++ Name)) end,
    #{
        offsite_url => iolist_to_binary(["s3://", Env("BUCKET"), "/", ?config(prefix, Config)]),
        offsite_endpoint => Env("ENDPOINT"),
        offsite_key => Env("ACCESS_KEY_ID"),
        offsite_secret => Env("SECRET_ACCESS_KEY")
    }.

database(Name, Of) ->
    Database = lists:concat(["replica_", Name, "_", Of]),
    _ = psql("postgres", "drop database if exists " ++ Database ++ " with (force)"),
    _ = psql("postgres", "create database " ++ Database),
    Database.

psql(Database, Sql) ->
    Psql = os:find_executable("psql"),
    Port = open_port({spawn_executable, Psql}, [
        {args, ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", Database, "-c", Sql]},
        exit_status, stderr_to_stdout, binary
    ]),
    said(Port, <<>>).

said(Port, Text) ->
    receive
        {Port, {data, More}} -> said(Port, <<Text/binary, More/binary>>);
        {Port, {exit_status, 0}} -> string:trim(binary_to_list(Text));
        {Port, {exit_status, _}} -> error({psql, Text})
    end.

rows(Database) ->
    psql(Database, "select string_agg(v, ' ' order by v) from site.rsc").

file(Dir, Name) ->
    {ok, Bytes} = file:read_file(filename:join(Dir, Name)),
    Bytes.

on(Node, Module, Function, Arguments) ->
    call(Node, Module, Function, Arguments ++ [call(Node, site_node, context, [])]).

%% Makes a backup, and waits until it is in the store.
backup(Node) ->
    test_site:until(fun() -> on(Node, mod_backup, running, []) =:= undefined end),
    ?assertEqual(ok, on(Node, mod_backup, start_backup, [])),
    test_site:until(fun() -> on(Node, mod_backup, running, []) =:= undefined end),
    test_site:until(fun() ->
        Listed = on(Node, mod_backup, list_backups, []),
        Listed =/= [] andalso lists:all(fun(Backup) -> maps:get(is_filestore_uploaded, Backup, false) end, Listed)
    end),
    ?assertEqual([], on(Node, mod_backup, failures, [])).

%% The commands of a section of the runbook, without what is remarked beside them.
commands(Title) ->
    {ok, Text} = file:read_file(filename:join(backup_template_tests:priv_dir(), "../docs/operations.md")),
    [_, Rest] = binary:split(Text, iolist_to_binary(["\n## ", Title, "\n"])),
    [Section | _] = binary:split(Rest, <<"\n## ">>),
    [
        string:trim(hd(string:split(Line, "  #")))
     || <<"    ", Line/binary>> <- binary:split(Section, <<"\n">>, [global])
    ].

%% Does one of them to the site of a node, in this folder.
follow(<<"touch SITE/priv/BACKUP">>, _, Dir) ->
    test_site:write(filename:join(Dir, "site/priv/BACKUP"), <<>>);
follow(<<"rm SITE/priv/BACKUP">>, _, Dir) ->
    file:delete(filename:join(Dir, "site/priv/BACKUP"));
follow(<<"bin/zotonic backup SITE list">>, Node, _) ->
    on(Node, mod_backup, observe_backup_list, [backup_list]);
follow(<<"bin/zotonic backup SITE download">>, Node, _) ->
    download(Node);
follow(<<"bin/zotonic stop">>, Node, _) ->
    site_node:stop(Node);
follow(<<"bin/zotonic start">>, Site, _) ->
    site_node:start(Site).

%% As `bin/zotonic backup SITE download'. It may just be looking by itself.
download(Node) ->
    test_site:until(fun() -> on(Node, mod_backup, observe_backup_download, [backup_download]) =:= ok end).

restarted(Times, Node) ->
    test_site:until(fun() -> call(Node, site_node, restarts, []) =:= Times end).

%% It has looked at the store since it was started.
looked(Node) ->
    test_site:until(fun() ->
        #{looked_at := At, running := Running} = on(Node, backup_copier, state, []),
        At =/= undefined andalso Running =:= undefined
    end).
