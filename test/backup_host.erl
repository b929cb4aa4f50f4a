%% @doc A site in the stand-in for Zotonic, with the backup module on top of it; for tests.
-module(backup_host).

-export([start/1, start/2, stop/0, admin/1, user/2, server/1, put_config/2, put_env/2, await/1, await/2, mails/0]).
-export([with_database/2, backup/1, backup/2, age/2, idle/1, listed/1]).

%% @doc A site with some media, configuration and security files. No server runs.
-spec start(file:filename()) -> z:context().
start(Dir) ->
    stop(),
    test_site:write(filename:join(Dir, "archive/2026/photo.jpg"), crypto:strong_rand_bytes(50000)),
    test_site:write(filename:join(Dir, "site/priv/zotonic_site.config"), <<"[].\n">>),
    test_site:write(filename:join(Dir, "site/security/key.pem"), <<"a private key\n">>),
    host:set(config_files, [filename:join(Dir, "site/priv/zotonic_site.config"), "BACKUP"]),
    host:set(security_dir, {ok, filename:join(Dir, "site/security")}),
    host:set(site_dir, filename:join(Dir, "site")),
    host:listen(),
    host:context(testsite, Dir).

%% @doc The same with the server, and nightly backups switched off unless the settings say otherwise.
-spec start(file:filename(), #{atom() => term()}) -> z:context().
start(Dir, Settings) ->
    Context = start(Dir),
    maps:foreach(fun put_config/2, maps:merge(#{daily_dump => <<"0">>}, Settings)),
    _ = server(Context),
    Context.

%% @doc The server is stopped, and nothing is known of a site any more.
-spec stop() -> ok.
stop() ->
    case whereis('mod_backup$testsite') of
        undefined -> ok;
        Pid -> gen_server:stop(Pid)
    end,
    _ = [application:unset_env(zotonic_mod_backup, Key)
         || {Key, _} <- application:get_all_env(zotonic_mod_backup)],
    _ = test_site:flush(),
    host:reset().

%% @doc Starts the server, and waits until it has nothing to do.
-spec server(z:context()) -> pid().
server(Context) ->
    {ok, Pid} = mod_backup:start_link([{context, Context}]),
    ok = idle(Context),
    Pid.

-spec admin(z:context()) -> z:context().
admin(Context) ->
    host:user(admin, Context).

%% @doc Somebody who may use these modules.
-spec user([atom()], z:context()) -> z:context().
user(Modules, Context) ->
    host:user(Modules, Context).

-spec put_config(atom(), term()) -> ok.
put_config(Key, Value) ->
    m_config:set_value(mod_backup, Key, Value, none).

-spec put_env(atom(), term()) -> ok.
put_env(Key, Value) ->
    application:set_env(zotonic_mod_backup, Key, Value).

%% @doc Waits until the pages are told this status.
-spec await(binary()) -> ok.
await(Status) ->
    await(Status, 60000).

-spec await(binary(), non_neg_integer()) -> ok.
await(Status, Timeout) ->
    receive
        {host, {mqtt, <<"model/backup/event/backup">>, #{status := Status}}} -> ok
    after Timeout -> error({never_told, Status, test_site:flush()})
    end.

%% @doc The mails that were sent, to whom and about what.
-spec mails() -> [{term(), binary()}].
mails() ->
    receive
        {host, {mail, To, Subject, _}} -> [{To, iolist_to_binary(Subject)} | mails()]
    after 0 -> []
    end.

%% @doc The site has a database, which this script dumps.
-spec with_database(iodata(), file:filename()) -> ok.
with_database(Script, Dir) ->
    #{pg_dump := PgDump} = test_site:pg_dump(Dir, "pg_dump", Script),
    host:set(pg_dump, PgDump),
    host:set(database, [{dbdatabase, "db"}, {dbuser, "nobody"}, {dbpassword, ""}, {dbhost, "localhost"},
                        {dbport, 5432}, {dbschema, "public"}]).

%% @doc Waits until the server does nothing.
-spec idle(z:context()) -> ok.
idle(Context) ->
    test_site:until(fun() -> mod_backup:running(Context) =:= undefined end).

%% @doc The backups that are done.
-spec listed(z:context()) -> [map()].
listed(Context) ->
    [Backup || Backup <- mod_backup:list_backups(Context), not maps:is_key(is_running, Backup)].

%% @doc Makes a backup of the site, without the server.
-spec backup(z:context()) -> map().
backup(Context) ->
    backup(#{}, Context).

-spec backup(map(), z:context()) -> map().
backup(More, Context) ->
    {ok, Request} = backup_site:request(full, Context),
    {ok, Job} = zbackup:backup(maps:merge(Request, More)),
    {ok, #{backup := Backup}} = zbackup:await(Job),
    Backup.

%% @doc Makes the backups in the list, and their files, older by some seconds. The new list is as long as
%% the old one: a number has ten digits.
-spec age(pos_integer(), z:context()) -> ok.
age(Seconds, Context) ->
    Path = filename:join(backup_site:dir(Context), "backup.json"),
    {ok, Json} = file:read_file(Path),
    {ok, #{backups := Backups}} = zbackup:list(#{backup_dir => backup_site:dir(Context)}),
    Aged = lists:foldl(
        fun(#{timestamp := At}, Text) ->
            binary:replace(Text, integer_to_binary(At), integer_to_binary(At - Seconds), [global])
        end,
        Json,
        Backups
    ),
    test_site:write(Path, Aged).
