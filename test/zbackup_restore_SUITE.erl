%% @doc Restores, as jobs. What a restore does to a site in every kind of trouble is tested below, in
%% `native/': here it is about requests, messages and results.
-module(zbackup_restore_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2]).
-export([
    files_come_back/1,
    only_some/1,
    a_damaged_backup_changes_nothing/1,
    wrong_options/1,
    nothing_to_settle/1,
    an_interrupted_restore_is_settled/1,
    only_the_one_that_was_chosen/1,
    from_the_shell/1,
    a_drill_needs_a_database/1
]).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), Name =/= module_info].

init_per_testcase(Name, Config) ->
    Dir = test_site:dir(Name, Config),
    Site = test_site:new(Dir, #{encryption => #{password => "secret"}}),
    {ok, #{backup := #{name := Backup}}} = run(zbackup:backup(Site)),
    [{dir, Dir}, {site, Site}, {backup, Backup} | Config].

files_come_back(Config) ->
    Site = ?config(site, Config),
    Before = content(Config),
    lose(Config),
    {ok, Job} = zbackup:restore(Site, ?config(backup, Config)),
    {{ok, Report}, Phases} = zbackup:await(Job, fun(#{phase := Phase}, Seen) -> [Phase | Seen] end, []),
    ?assertMatch(#{backup := #{name := _}, tables := [], skipped := [], warnings := []}, Report),
    ?assertEqual([files, config, security], [Piece || #{piece := Piece} <- maps:get(restored, Report)]),
    ?assertEqual([verify, unpack, place], lists:usort(fun(A, B) -> order(A) =< order(B) end, Phases)),
    ?assertEqual(Before, content(Config)).

order(Phase) ->
    maps:get(Phase, #{verify => 1, unpack => 2, load => 3, place => 4}).

only_some(Config) ->
    Before = content(Config),
    lose(Config),
    {ok, #{restored := [#{piece := security}]}} =
        run(zbackup:restore(?config(site, Config), "recent", #{only => [security]})),
    #{"security/key.pem" := Key} = Before,
    ?assertEqual(#{"security/key.pem" => Key}, content(Config)).

a_damaged_backup_changes_nothing(Config) ->
    #{backup_dir := Folder} = Site = ?config(site, Config),
    [File] = filelib:wildcard(filename:join(Folder, "testsite-*.tar.gz.enc")),
    {ok, <<Start:1000/binary, Byte, Rest/binary>>} = file:read_file(File),
    ok = file:write_file(File, <<Start/binary, (Byte bxor 1), Rest/binary>>),
    Before = content(Config),
    {error, damaged, Message} = run(zbackup:restore(Site, recent_name())),
    ?assertNotEqual(nomatch, string:find(Message, filename:basename(File))),
    ?assertEqual(Before, content(Config)).

wrong_options(Config) ->
    Site = ?config(site, Config),
    Before = content(Config),
    [
        begin
            Answer = run(zbackup:restore(Site, Name, Options)),
            ?assertMatch({{error, usage, _}, _}, {Answer, Options}),
            {error, usage, Message} = Answer,
            ?assertNotEqual({nomatch, Message}, {string:find(Message, Word), Message})
        end
     || {Name, Options, Word} <- [
            {"recent", #{only => [everything]}, "everything"},
            {"recent", #{only => database}, "only"},
            {"recent", #{only => [database]}, "no backup has database"},
            {?config(backup, Config), #{only => [database]}, "has no database"},
            {"recent", #{force => true}, "force"},
            {"recent", [], "map"},
            {recent, #{}, "name"},
            {"", #{}, "name"}
        ]
    ],
    ?assertMatch({error, unknown_backup, _}, run(zbackup:restore(Site, "../testsite-1"))),
    ?assertEqual(Before, content(Config)).

%% Names are used again.
only_the_one_that_was_chosen(Config) ->
    Site = ?config(site, Config),
    Name = ?config(backup, Config),
    {ok, #{backups := [#{timestamp := Timestamp}]}} = zbackup:list(Site),
    Before = content(Config),
    {error, unknown_backup, Message} = run(zbackup:restore(Site, Name, #{timestamp => Timestamp - 60})),
    ?assertNotEqual(nomatch, string:find(Message, Name)),
    ?assertEqual(Before, content(Config)),
    lose(Config),
    {ok, _} = run(zbackup:restore(Site, Name, #{timestamp => Timestamp})),
    ?assertEqual(Before, content(Config)).

nothing_to_settle(Config) ->
    ?assertEqual({ok, #{settled => undefined}}, run(zbackup:settle(?config(site, Config)))).

%% What a restore leaves that was killed after it was decided.
an_interrupted_restore_is_settled(Config) ->
    #{backup_dir := Folder, media_dir := Media} = Site = ?config(site, Config),
    Staged = filename:join(filename:dirname(Media), ".zbackup-restore-0123456789abcdef-0"),
    ok = filelib:ensure_path(Staged),
    Journal = [
        "{\"id\":\"0123456789abcdef\",\"backup\":\"testsite-5\",\"state\":\"staging\",\"placements\":[",
        "{\"staged\":\"", Staged, "\",\"target\":\"", Media, "\"}]}"
    ],
    test_site:write(filename:join(Folder, ".restore.json"), Journal),
    ?assertEqual(
        {ok, #{settled => #{backup => <<"testsite-5">>, completed => false, skipped => []}}},
        run(zbackup:settle(Site))
    ),
    ?assertNot(filelib:is_file(Staged)),
    nothing_to_settle(Config).

from_the_shell(Config) ->
    Site = ?config(site, Config),
    Before = content(Config),
    lose(Config),
    ct:capture_start(),
    ?assertEqual(ok, zbackup:shell_restore(Site, "recent")),
    ct:capture_stop(),
    Said = lists:append(ct:capture_get()),
    [?assertNotEqual({nomatch, Said}, {string:find(Said, Word), Said})
     || Word <- ["is restored", "files and folders", "security"]],
    ?assertEqual(Before, content(Config)).

a_drill_needs_a_database(Config) ->
    {error, usage, Message} = run(zbackup:verify(?config(site, Config), [], #{drill => true})),
    ?assertNotEqual(nomatch, string:find(Message, "database")).

recent_name() ->
    <<"recent">>.

lose(Config) ->
    [ok = file:del_dir_r(filename:join(?config(dir, Config), Name))
     || Name <- ["media", "priv", "security"]].

%% All files of the site, by their paths.
content(Config) ->
    Dir = ?config(dir, Config),
    maps:from_list([
        begin
            {ok, Bytes} = file:read_file(filename:join(Dir, Path)),
            {Path, Bytes}
        end
     || Path <- filelib:wildcard("{media,priv,security}/**", Dir),
        filelib:is_regular(filename:join(Dir, Path))
    ]).

run({ok, Job}) -> zbackup:await(Job);
run(Other) -> Other.
