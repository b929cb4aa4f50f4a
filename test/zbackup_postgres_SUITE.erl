%% @doc Backups of a real database. `scripts/with-postgres' provides one to play with.
-module(zbackup_postgres_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2]).
-export([round_trip/1, restore/1, progress_of_a_restore/1, drill/1, only_the_schema/1, wrong_password/1, server_that_is_down/1, schema_that_is_missing/1]).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports),
             not lists:member(Name, [module_info, init_per_suite, end_per_suite])].

init_per_suite(Config) ->
    case os:getenv("ZBACKUP_TEST_PG") of
        "1" -> Config;
        _ -> {skip, "there is no PostgreSQL to play with: run this by scripts/with-postgres"}
    end.

end_per_suite(_Config) ->
    ok.

init_per_testcase(Name, Config) ->
    Dir = test_site:dir(Name, Config),
    Schema = "Zbackup \"" ++ atom_to_list(Name) ++ "\"",
    psql(
        Dir,
        unicode:characters_to_binary([
            "create schema ", quoted(Schema), "; set search_path to ", quoted(Schema), ";\n"
            "create table rsc (id serial primary key, title text);\n"
            "insert into rsc (title) select 'page ☃ ' || n from generate_series(1, 5000) n;\n"
        ])
    ),
    Database = #{
        host => os:getenv("PGHOST"),
        port => list_to_integer(os:getenv("PGPORT")),
        user => os:getenv("PGUSER"),
        password => os:getenv("PGPASSWORD"),
        dbname => os:getenv("PGDATABASE"),
        schema => Schema
    },
    [{dir, Dir}, {schema, Schema}, {database, Database} | Config].

%% Made, proven, decrypted, and loaded again: the same rows.
round_trip(Config) ->
    Dir = ?config(dir, Config),
    Site = test_site:new(Dir, #{database => ?config(database, Config), encryption => #{password => "secret"}}),
    {ok, #{backup := #{database := #{file := File}}}} = run(zbackup:backup(Site)),
    ?assertMatch({ok, #{ok := true}}, run(zbackup:verify(Site))),
    ?assertMatch({ok, #{backups := [#{is_database_present := true}]}}, zbackup:list(Site)),
    Dump = filename:join(Dir, "dump.sql"),
    Decrypted = Dump ++ ".gz",
    {ok, _} = run(zbackup:decrypt(filename:join(maps:get(backup_dir, Site), File), Decrypted, "secret")),
    {ok, Packed} = file:read_file(Decrypted),
    Rows = ["select count(*), sum(hashtext(id || title)) from ", quoted(?config(schema, Config)), ".rsc;"],
    Before = psql(Dir, Rows),
    ?assertMatch(<<"5000|", _/binary>>, Before),
    psql(Dir, ["drop schema ", quoted(?config(schema, Config)), " cascade;"]),
    psql(Dir, zlib:gunzip(Packed)),
    ?assertEqual(Before, psql(Dir, Rows)).

%% The database comes back with the files, in place.
restore(Config) ->
    Dir = ?config(dir, Config),
    Site = test_site:new(Dir, #{database => ?config(database, Config), encryption => #{password => "secret"}}),
    {ok, _} = run(zbackup:backup(Site)),
    Rows = ["select count(*), sum(hashtext(id || title)) from ", quoted(?config(schema, Config)), ".rsc;"],
    Before = psql(Dir, Rows),
    psql(Dir, ["delete from ", quoted(?config(schema, Config)), ".rsc where id > 7;"]),
    {ok, Job} = zbackup:restore(Site, <<"recent">>),
    {{ok, Report}, Phases} = zbackup:await(Job, fun(#{phase := Phase}, Seen) -> [Phase | Seen] end, []),
    ?assert(lists:member(load, Phases)),
    ?assertMatch(#{tables := [#{name := <<"rsc">>, rows := 5000}]}, Report),
    ?assertMatch(#{restored := [#{piece := database, entries := 5000} | _]}, Report),
    ?assertEqual(Before, psql(Dir, Rows)).

%% As much is done as there is, and not more.
progress_of_a_restore(Config) ->
    Dir = ?config(dir, Config),
    Schema = quoted(?config(schema, Config)),
    Site = test_site:new(Dir, #{database => ?config(database, Config), encryption => #{password => "secret"}}),
    %% The server takes some rows, and then nothing for two seconds: on any machine.
    psql(Dir, ["create function ", Schema, ".slow(text) returns boolean language plpgsql as ",
               "'begin if $1 = ''slow'' then perform pg_sleep(2); end if; return true; end'; ",
               "alter table ", Schema, ".rsc add check (", Schema, ".slow(title));",
               "insert into ", Schema, ".rsc (title) select md5(n::text) from generate_series(1, 100000) n;",
               "insert into ", Schema, ".rsc (title) values ('slow');",
               "insert into ", Schema, ".rsc (title) select md5(n::text) from generate_series(1, 400000) n;"]),
    {ok, _} = run(zbackup:backup(Site)),
    {ok, Job} = zbackup:restore(Site, <<"recent">>),
    {{ok, _}, All} = zbackup:await(Job, fun(Progress, Seen) -> [Progress | Seen] end, []),
    ?assertMatch([_ | _], [Done || #{phase := load, done := Done} <- All, Done > 0]),
    ?assertEqual([], [Progress || #{done := Done, total := Total} = Progress <- All, Done > Total]).

%% The restore is rehearsed on the real server, which is as before afterwards. The user is a superuser: only
%% what is encrypted is proven enough for that.
drill(Config) ->
    Dir = ?config(dir, Config),
    Site = test_site:new(Dir, #{database => ?config(database, Config), encryption => #{password => "secret"}}),
    {ok, _} = run(zbackup:backup(Site)),
    psql(Dir, ["delete from ", quoted(?config(schema, Config)), ".rsc where id > 7;"]),
    {ok, #{ok := true, backups := [#{parts := [#{rehearsed := Tables} | _]}]}} =
        run(zbackup:verify(Site, [], #{drill => true})),
    ?assertEqual([#{name => <<"rsc">>, rows => 5000}], Tables),
    ?assertEqual(<<"7\n">>, psql(Dir, ["select count(*) from ", quoted(?config(schema, Config)), ".rsc;"])).

only_the_schema(Config) ->
    Dir = ?config(dir, Config),
    psql(Dir, "create table if not exists public.not_of_the_site (id int);"),
    Site = test_site:new(Dir, #{database => ?config(database, Config)}),
    {ok, #{backup := #{database := #{file := File}}}} = run(zbackup:backup(Site#{database_only => true})),
    {ok, Packed} = file:read_file(filename:join(maps:get(backup_dir, Site), File)),
    Dump = zlib:gunzip(Packed),
    ?assertNotEqual(nomatch, string:find(Dump, "page ☃ 4999")),
    ?assertEqual(nomatch, string:find(Dump, "not_of_the_site")).

wrong_password(Config) ->
    fails(Config, #{password => "hunter2"}, ["password"], "hunter2").

server_that_is_down(Config) ->
    #{password := Password} = ?config(database, Config),
    %% A port that nobody listens on: that of a socket which is closed again.
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    fails(Config, #{port => Port}, ["cannot be reached", integer_to_list(Port)], Password).

schema_that_is_missing(Config) ->
    #{password := Password} = ?config(database, Config),
    fails(Config, #{schema => "nosuchschema"}, ["nosuchschema"], Password).

%% An error with these words and without the secret, and the backup before is as it was.
fails(Config, Change, Words, Secret) ->
    Database = ?config(database, Config),
    Site = test_site:new(?config(dir, Config), #{database => Database}),
    {ok, _} = run(zbackup:backup(Site)),
    Before = test_site:files(Site),
    {error, database, Message} = run(zbackup:backup(Site#{database := maps:merge(Database, Change)})),
    [?assertNotEqual({nomatch, Message}, {string:find(Message, Word), Message}) || Word <- Words],
    ?assertEqual(nomatch, string:find(Message, Secret)),
    ?assertEqual(Before, test_site:files(Site)),
    ?assertMatch({ok, #{ok := true}}, run(zbackup:verify(Site))).

quoted(Name) ->
    ["\"", string:replace(Name, "\"", "\"\"", all), "\""].

%% What the database answers to a script. It is found by the environment.
psql(Dir, Script) ->
    File = filename:join(Dir, "script.sql"),
    test_site:write(File, Script),
    Args = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", File],
    Port = open_port({spawn_executable, os:find_executable("psql")},
                     [{args, Args}, binary, exit_status, stderr_to_stdout]),
    collect(Port, <<>>).

collect(Port, Output) ->
    receive
        {Port, {data, More}} -> collect(Port, <<Output/binary, More/binary>>);
        {Port, {exit_status, 0}} -> Output;
        {Port, {exit_status, _}} -> error({psql, Output})
    end.

run({ok, Job}) -> zbackup:await(Job);
run(Other) -> Other.
