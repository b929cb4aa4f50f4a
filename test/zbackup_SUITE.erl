%% @doc Jobs, from start to end, on small real sites.
-module(zbackup_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2]).
-export([
    round_trip_unencrypted/1,
    round_trip_encrypted/1,
    from_site_toml/1,
    site_toml_tells_no_secret/1,
    result_has_no_nil_and_atoms_for_keys/1,
    what_is_skipped_is_told/1,
    day_names_the_backup/1,
    database_only_keeps_the_files/1,
    damage_is_found/1,
    errors_have_their_kind/1,
    await_leaves_other_messages/1,
    await_knows_whose_job_it_is/1,
    await_cancels_when_its_function_fails/1,
    encrypt_and_decrypt/1,
    outputs_are_not_overwritten/1,
    odd_names/1,
    jobs_at_the_same_time/1,
    one_job_on_a_folder/1,
    a_thousand_jobs/1,
    module_survives_a_reload/1
]).

-define(PASSWORD, <<"a pässword to find in messages"/utf8>>).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), Name =/= module_info].

init_per_testcase(Name, Config) ->
    [{dir, test_site:dir(Name, Config)} | Config].

round_trip_unencrypted(Config) ->
    Site = test_site:new(?config(dir, Config)),
    round_trip(Site, none, fun(File, Out) -> {ok, _} = file:copy(File, Out) end, Config).

round_trip_encrypted(Config) ->
    Site = test_site:new(?config(dir, Config), #{encryption => #{password => ?PASSWORD}}),
    Decrypt = fun(File, Out) ->
        {ok, Job} = zbackup:decrypt(File, Out, ?PASSWORD),
        ?assertEqual({ok, #{output => unicode:characters_to_binary(Out), encryption => z2}}, zbackup:await(Job))
    end,
    round_trip(Site, z2, Decrypt, Config).

%% Makes, lists and proves a backup, and unpacks it with other programs than ours.
round_trip(#{media_dir := Media} = Site, Encryption, Decrypt, Config) ->
    Dir = ?config(dir, Config),
    IsEncrypted = Encryption =/= none,
    {ok, Report} = run(zbackup:backup(Site)),
    #{
        backup := #{
            name := Name,
            timestamp := Timestamp,
            database := undefined,
            config := #{file := ConfigFile},
            files := #{file := File, sha256 := Sha256, size := Size},
            files_timestamp := undefined,
            is_encrypted := IsEncrypted,
            is_filestore_uploaded := false
        },
        made := [#{part := config}, #{part := files, file := File, size := Size, source_bytes := Source}],
        skipped := [],
        warnings := []
    } = Report,
    ?assert(abs(os:system_time(second) - Timestamp) < 60),
    ?assert(Source > 200000),
    Path = filename:join(maps:get(backup_dir, Site), File),
    {ok, Bytes} = file:read_file(Path),
    ?assertEqual(Size, byte_size(Bytes)),
    ?assertEqual(hex(crypto:hash(sha256, Bytes)), Sha256),
    ?assertEqual(IsEncrypted, backup_file_crypto:is_encrypted(File)),
    ?assertEqual(IsEncrypted, backup_file_crypto:is_encrypted(ConfigFile)),

    ?assertMatch(
        {ok, #{refused := [], backups := [#{
            name := Name,
            is_database_present := false,
            is_config_files_present := true,
            is_files_present := true,
            is_encrypted := IsEncrypted,
            missing := []
        }]}},
        zbackup:list(Site)
    ),
    All = {ok, #{ok => true, backups => [#{
        name => Name,
        ok => true,
        problem => undefined,
        parts => [proven(config, ConfigFile, Encryption, 4), proven(files, File, Encryption, 6)]
    }]}},
    ?assertEqual(All, without_bytes(run(zbackup:verify(Site)))),
    ?assertEqual(All, without_bytes(run(zbackup:verify(Site, [unicode:characters_to_list(Name)])))),

    Out = filename:join(Dir, "out.tar.gz"),
    Decrypt(Path, Out),
    Unpacked = filename:join(Dir, "unpacked"),
    ok = filelib:ensure_dir(filename:join(Unpacked, "x")),
    ?assertEqual("", os:cmd("tar -C " ++ Unpacked ++ " -xzf " ++ Out)),
    ?assertEqual("", os:cmd("diff -r " ++ Unpacked ++ " " ++ unicode:characters_to_list(Media))).

proven(Part, File, Encryption, Entries) ->
    #{part => Part, file => File, ok => true, encryption => Encryption, contents => Entries,
      problem => undefined, kind => undefined, note => undefined, rehearsed => undefined}.

without_bytes({ok, #{backups := Backups} = Result}) ->
    {ok, Result#{backups := [
        (maps:remove(timestamp, Backup))#{parts := [Part#{contents := Entries} || #{contents := #{entries := Entries}} = Part <- Parts]}
     || #{parts := Parts} = Backup <- Backups
    ]}}.

from_site_toml(Config) ->
    Dir = ?config(dir, Config),
    #{backup_dir := Backups} = test_site:new(Dir),
    Toml = filename:join(Dir, "site.toml"),
    test_site:write(Toml, "site = \"testsite\"\nbackup_dir = \"backup\"\nmedia_dir = \"media\"\n"),
    {ok, #{made := [#{part := files}]}} = run(zbackup:backup(#{config => Toml})),
    {ok, #{backups := [#{name := Name}]}} = zbackup:list(#{config => unicode:characters_to_binary(Toml)}),
    ?assertEqual({ok, [Name]}, names(zbackup:list(#{backup_dir => Backups}))),
    ?assertMatch({ok, #{ok := true}}, run(zbackup:verify(#{config => Toml}, [Name]))),
    ?assertMatch({ok, #{ok := true}}, run(zbackup:verify(#{backup_dir => Backups}))),
    ?assertMatch({error, not_found, _}, run(zbackup:backup(#{config => Toml ++ "x"}))),
    ?assertMatch({error, not_found, _}, zbackup:list(#{config => Toml ++ "x"})).

names({ok, #{backups := Backups}}) ->
    {ok, [Name || #{name := Name} <- Backups]}.

site_toml_tells_no_secret(Config) ->
    Toml = filename:join(?config(dir, Config), "site.toml"),
    Start = "site = \"s\"\nbackup_dir = \"b\"\n",
    [
        begin
            test_site:write(Toml, Start ++ Wrong),
            {error, usage, Message} = run(zbackup:backup(#{config => Toml})),
            ?assertEqual(nomatch, string:find(Message, "736455"), Message),
            ?assertEqual({error, usage, Message}, zbackup:list(#{config => Toml}))
        end
     || Wrong <- [
            "[encryption]\npassword = 736455\n",
            "[encryption]\npassword = \"736455\n",
            "[encryption]\npassword = [\"736455\"]\n",
            "encryption = \"736455\"\n",
            "[database]\nuser = \"u\"\ndbname = \"d\"\npassword = 736455\n",
            "[database]\nuser = \"u\"\ndbname = \"d\"\npassword = 'x736455\n"
        ]
    ].

result_has_no_nil_and_atoms_for_keys(Config) ->
    Site = test_site:new(?config(dir, Config)),
    {ok, Report} = run(zbackup:backup(Site)),
    {ok, Verified} = run(zbackup:verify(Site)),
    {ok, Listing} = zbackup:list(Site),
    plain([Report, Verified, Listing]).

%% Maps with atoms as keys, lists, binaries in UTF-8, integers, and atoms that say something.
plain(nil) -> error(nil);
plain(Map) when is_map(Map) ->
    maps:foreach(fun(Key, Value) -> ?assert(is_atom(Key), Key), plain(Value) end, Map);
plain(List) when is_list(List) -> lists:foreach(fun plain/1, List);
plain(Binary) when is_binary(Binary) -> ?assertEqual(Binary, unicode:characters_to_binary(Binary));
plain(Atom) when is_atom(Atom) -> ok;
plain(Integer) when is_integer(Integer) -> ok.

what_is_skipped_is_told(Config) ->
    #{media_dir := Media} = Site = test_site:new(?config(dir, Config)),
    "" = os:cmd("mkfifo '" ++ unicode:characters_to_list(filename:join(Media, "a fifo")) ++ "'"),
    %% A name that is not UTF-8.
    ok = file:make_symlink("/nowhere", filename:join(list_to_binary(Media), <<"link", 255>>)),
    {ok, #{skipped := [#{path := Path, reason := Reason}]}} = run(zbackup:backup(Site)),
    ?assertEqual(<<"a fifo">>, Path),
    ?assertNotEqual(nomatch, string:find(Reason, "FIFO")),
    ?assertMatch({ok, #{ok := true}}, run(zbackup:verify(Site))).

day_names_the_backup(Config) ->
    Site = test_site:new(?config(dir, Config)),
    %% 3 August 2026 is a Monday, 2 August the first Sunday of its month.
    {ok, #{backup := #{name := <<"testsite-2">>}}} = run(zbackup:backup(Site#{day => {2026, 8, 3}})),
    {ok, #{backup := #{name := Weekly}}} = run(zbackup:backup(Site#{day => {2026, 8, 2}})),
    ?assertMatch(<<"testsite-w", _>>, Weekly).

database_only_keeps_the_files(Config) ->
    Dir = ?config(dir, Config),
    Database = test_site:pg_dump(Dir, "pg_dump", test_site:dump("")),
    Site = test_site:new(Dir, #{database => Database}),
    {ok, #{backup := #{files := Files}}} = run(zbackup:backup(Site)),
    {ok, #{backup := Backup, made := Made}} = run(zbackup:backup(Site#{database_only => true})),
    ?assertMatch(#{files := Files, files_timestamp := Time} when is_integer(Time), Backup),
    ?assertEqual([database, config], [Part || #{part := Part} <- Made]),
    ?assertMatch({ok, #{ok := true}}, run(zbackup:verify(Site))).

damage_is_found(Config) ->
    #{backup_dir := Backups} = Site =
        test_site:new(?config(dir, Config), #{encryption => #{password => ?PASSWORD}}),
    {ok, #{backup := #{name := Name, files := #{file := File}}}} = run(zbackup:backup(Site)),
    Path = filename:join(Backups, File),
    {ok, <<Head:5000/binary, Byte, Tail/binary>>} = file:read_file(Path),
    ok = file:write_file(Path, [Head, Byte bxor 1, Tail]),
    {ok, #{ok := false, backups := [#{name := Name, ok := false, parts := Parts}]}} = run(zbackup:verify(Site)),
    ?assertMatch(
        [
            #{part := config, ok := true},
            #{part := files, ok := false, kind := damaged, problem := Problem, contents := undefined}
        ] when is_binary(Problem),
        Parts
    ),
    Out = filename:join(?config(dir, Config), "out"),
    {error, damaged, _} = run(zbackup:decrypt(Path, Out, ?PASSWORD)),
    ?assertNot(filelib:is_file(Out)),
    ok = file:delete(Path),
    {ok, #{backups := [#{is_files_present := false, missing := [File]}]}} = zbackup:list(Site).

errors_have_their_kind(Config) ->
    Dir = ?config(dir, Config),
    Site = test_site:new(Dir, #{encryption => #{password => ?PASSWORD}}),
    {ok, #{backup := #{name := Name, files := #{file := File}}}} = run(zbackup:backup(Site)),
    Path = filename:join(maps:get(backup_dir, Site), File),
    Out = filename:join(Dir, "out"),
    Database = #{user => "u", dbname => "d", password => ?PASSWORD, host => "127.0.0.1", port => 1},
    Failures = [
        {unknown_backup, zbackup:verify(Site, ["testsite-9"])},
        {no_password, zbackup:verify(maps:remove(encryption, Site), [Name])},
        {not_found, zbackup:backup(Site#{media_dir := "/no/such/folder"})},
        {not_found, zbackup:backup(Site#{encryption := #{password_file => Dir ++ "/none"}})},
        {not_found, zbackup:list(Site#{backup_dir := "/no/such/folder"})},
        {not_found, zbackup:decrypt(Dir ++ "/none.enc", Out, ?PASSWORD)},
        {wrong_password, zbackup:decrypt(Path, Out, "not it")},
        {damaged, zbackup:decrypt(Dir ++ "/media/notes.txt", Out, ?PASSWORD)},
        {exists, zbackup:decrypt(Path, Path, ?PASSWORD)},
        {database, zbackup:backup(Site#{database => Database})}
    ],
    [
        begin
            {error, Kind, Message} = run(Started),
            ?assertEqual({Expected, Message}, {Kind, Message}),
            ?assert(is_binary(Message)),
            ?assertEqual(nomatch, string:find(Message, ?PASSWORD)),
            ?assertEqual(nomatch, string:find(Message, "not it"))
        end
     || {Expected, Started} <- Failures
    ],
    ?assertNot(filelib:is_file(Out)),
    %% A wrong password is no fault of a backup, but proves nothing either.
    Wrong = zbackup:verify(Site#{encryption := #{password => "not it"}}),
    {ok, #{ok := false, backups := [#{parts := Parts}]}} = run(Wrong),
    ?assertEqual([wrong_password, wrong_password], [Kind || #{ok := false, kind := Kind} <- Parts]),
    ?assertMatch({ok, #{ok := true}}, run(zbackup:verify(Site))).

await_leaves_other_messages(Config) ->
    Site = test_site:new(?config(dir, Config)),
    self() ! before,
    self() ! {zbackup, make_ref(), {done, of_another_job}},
    {ok, Job} = zbackup:backup(Site),
    self() ! 'after',
    {ok, _} = zbackup:await(Job),
    ?assertMatch([before, {zbackup, _, {done, of_another_job}}, 'after'], test_site:flush()).

await_knows_whose_job_it_is(Config) ->
    Site = test_site:new(?config(dir, Config)),
    {ok, Job} = zbackup:backup(Site),
    Self = self(),
    spawn_link(fun() -> Self ! {other, zbackup:await(Job)} end),
    receive {other, Answer} -> ?assertMatch({error, usage, _}, Answer) end,
    {ok, _} = zbackup:await(Job),
    ?assertMatch({error, usage, _}, zbackup:await(Job)),
    ?assertEqual(ok, zbackup:cancel(Job)),
    ?assertEqual([], test_site:flush()).

await_cancels_when_its_function_fails(Config) ->
    Dir = ?config(dir, Config),
    Database = test_site:pg_dump(Dir, "pg_dump", test_site:dump("sleep 600")),
    Site = test_site:new(Dir, #{database => Database}),
    {ok, Job} = zbackup:backup(Site),
    ?assertError(boom, zbackup:await(Job, fun(_) -> error(boom) end)),
    ?assertMatch({error, cancelled, _}, zbackup:await(Job)),
    ?assertMatch({error, usage, _}, zbackup:await(Job, not_a_function)).

encrypt_and_decrypt(Config) ->
    Dir = ?config(dir, Config),
    In = filename:join(Dir, "in"),
    Bytes = crypto:strong_rand_bytes(3000000),
    test_site:write(In, Bytes),
    {ok, #{output := Sealed}} = run(zbackup:encrypt(In, undefined, ?PASSWORD)),
    ?assertEqual(unicode:characters_to_binary(In ++ ".enc"), Sealed),
    {ok, <<"Z2", _/binary>>} = file:read_file(Sealed),
    %% The password as a string is the same password.
    Password = unicode:characters_to_list(?PASSWORD),
    {ok, #{output := Out, encryption := z2}} = run(zbackup:decrypt(Sealed, In ++ ".out", Password)),
    ?assertEqual({ok, Bytes}, file:read_file(Out)).

outputs_are_not_overwritten(Config) ->
    Dir = ?config(dir, Config),
    In = filename:join(Dir, "in"),
    Out = filename:join(Dir, "out"),
    test_site:write(In, "input"),
    test_site:write(Out, "precious"),
    ?assertMatch({error, exists, _}, run(zbackup:encrypt(In, Out, ?PASSWORD))),
    ?assertMatch({error, exists, _}, run(zbackup:encrypt(In, Out, ?PASSWORD, #{force => false}))),
    ?assertEqual({ok, <<"precious">>}, file:read_file(Out)),
    ?assertMatch({ok, _}, run(zbackup:encrypt(In, Out, ?PASSWORD, #{force => true}))),
    ?assertMatch({ok, <<"Z2", _/binary>>}, file:read_file(Out)),
    ?assertMatch({ok, _}, run(zbackup:decrypt(Out, In, ?PASSWORD, #{force => true}))),
    ?assertEqual({ok, <<"input">>}, file:read_file(In)).

odd_names(Config) ->
    Dir = ?config(dir, Config),
    [
        begin
            Folder = filename:join(Dir, Name),
            In = filename:join(Folder, Name),
            test_site:write(In, Name),
            {ok, #{output := Sealed}} = run(zbackup:encrypt(In, undefined, ?PASSWORD)),
            {ok, #{output := Out}} = run(zbackup:decrypt(Sealed, <<In/binary, ".out">>, ?PASSWORD)),
            ?assertEqual({ok, Name}, file:read_file(Out)),
            Site = #{site => "odd", backup_dir => filename:join(Folder, "backup"), media_dir => Folder},
            ?assertMatch({error, usage, _}, run(zbackup:backup(Site)))
        end
     || Name <- [<<" ">>, <<"-rf">>, <<"a\nb">>, <<"'\"$(x)`">>, <<"☃ é"/utf8>>, <<"*?[">>, <<"a\\b">>]
    ].

jobs_at_the_same_time(Config) ->
    Dir = ?config(dir, Config),
    Sites = [test_site:new(filename:join(Dir, integer_to_list(Number))) || Number <- lists:seq(1, 8)],
    Jobs = [Job || Site <- Sites, {ok, Job} <- [zbackup:backup(Site)]],
    ?assertEqual(8, length(Jobs)),
    %% In the other order than they were started.
    [?assertMatch({ok, #{skipped := []}}, zbackup:await(Job)) || Job <- lists:reverse(Jobs)],
    [?assertMatch({ok, #{ok := true}}, run(zbackup:verify(Site))) || Site <- Sites],
    ?assertEqual([], test_site:flush()).

one_job_on_a_folder(Config) ->
    Dir = ?config(dir, Config),
    Database = test_site:pg_dump(Dir, "pg_dump", test_site:dump("sleep 600")),
    Site = test_site:new(Dir, #{database => Database}),
    {ok, First} = zbackup:backup(Site),
    receive {zbackup, First, {progress, #{phase := database}}} -> ok end,
    ?assertMatch({error, in_progress, _}, run(zbackup:backup(Site))),
    %% Looking at a folder disturbs nobody.
    ?assertMatch({ok, #{backups := []}}, zbackup:list(Site)),
    ok = zbackup:cancel(First),
    ?assertMatch({error, cancelled, _}, zbackup:await(First)),
    Media = maps:remove(database, Site),
    ?assertMatch({ok, _}, run(zbackup:backup(Media))),
    %% What a proof found out is told, also when it cannot be written into the list.
    Record = #{record => true},
    ?assertMatch({ok, #{ok := true, recorded := true}}, run(zbackup:verify(Media, [], Record))),
    {ok, Second} = zbackup:backup(Site),
    receive {zbackup, Second, {progress, #{phase := database}}} -> ok end,
    ?assertMatch({ok, #{ok := true, recorded := false, backups := [_]}}, run(zbackup:verify(Media, [], Record))),
    ok = zbackup:cancel(Second),
    ?assertMatch({error, cancelled, _}, zbackup:await(Second)),
    {ok, #{ok := true} = Verified} = run(zbackup:verify(Media)),
    ?assertNot(maps:is_key(recorded, Verified)).

%% Started by many processes, some of which die, some of which cancel. Each job of a process that lives
%% ends with one message.
a_thousand_jobs(Config) ->
    Site = test_site:new(?config(dir, Config)),
    {ok, _} = run(zbackup:backup(Site)),
    Work = fun(Number) ->
        {ok, Job} = zbackup:verify(Site),
        case Number rem 4 of
            0 -> exit(normal);
            1 -> exit(self(), kill);
            2 -> zbackup:cancel(Job);
            3 -> ok
        end,
        case zbackup:await(Job) of
            {ok, #{ok := true}} -> ok;
            {error, cancelled, _} when Number rem 4 =:= 2 -> ok
        end,
        ?assertEqual([], test_site:flush())
    end,
    Processes = [spawn_monitor(fun() -> Work(Number) end) || Number <- lists:seq(1, 1000)],
    Ends = [receive {'DOWN', Ref, process, Pid, Reason} -> Reason end || {Pid, Ref} <- Processes],
    ?assertEqual([killed, normal], lists:usort(Ends)),
    ?assertEqual(250, length([killed || killed <- Ends])),
    ?assertMatch({ok, #{ok := true}}, run(zbackup:verify(Site))),
    test_site:until(fun() -> threads() =:= 0 end).

%% The threads of jobs in this node, where /proc tells.
threads() ->
    Names = [file:read_file(File) || File <- filelib:wildcard("/proc/self/task/*/comm")],
    length([Name || {ok, <<"zbackup", _/binary>> = Name} <- Names]).

%% A developer compiles the module again, as Zotonic does by itself, while a job runs.
module_survives_a_reload(Config) ->
    Dir = ?config(dir, Config),
    Database = test_site:pg_dump(Dir, "pg_dump", test_site:dump("sleep 600")),
    {ok, Job} = zbackup:backup(test_site:new(Dir, #{database => Database})),
    receive {zbackup, Job, {progress, _}} -> ok end,
    _ = code:load_file(zbackup_nif),
    ok = zbackup:cancel(Job),
    ?assertMatch({error, cancelled, _}, zbackup:await(Job)).

run({ok, Job}) when is_reference(Job) -> zbackup:await(Job);
run(Other) -> Other.

hex(Bytes) ->
    << <<(string:lowercase(integer_to_binary(Nibble, 16)))/binary>> || <<Nibble:4>> <= Bytes >>.
