%% @doc Jobs on their way: progress, cancelling, owners that die, and databases that fail.
%%
%% What dumps the database is a script here, so that it fails, waits and talks as it should.
-module(zbackup_job_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2]).
-export([
    progress_is_well_formed_and_seldom/1,
    progress_of_a_slow_database/1,
    progress_as_a_fold/1,
    cancel_leaves_nothing/1,
    cancel_leaves_the_backup_before/1,
    cancel_while_packing/1,
    cancel_a_decryption/1,
    owner_that_dies_cancels/1,
    owner_that_ends_cancels/1,
    dump_with_exit_status/1,
    dump_that_is_killed/1,
    dump_that_is_cut_off/1,
    dump_with_more_behind_it/1,
    dump_command_that_is_missing/1,
    dump_that_warns/1,
    dump_gets_no_password_in_sight/1
]).

%% Prints, writes its process id, and would stay for ten minutes.
-define(WAITING, "echo $$ >\"$DIR/pid\"\nexec sleep 600\n").

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), Name =/= module_info].

init_per_testcase(Name, Config) ->
    [{dir, test_site:dir(Name, Config)} | Config].

progress_is_well_formed_and_seldom(Config) ->
    Dir = ?config(dir, Config),
    %% As fast as it can, for two seconds on any machine: many blocks in each quarter of a second.
    Database = test_site:pg_dump(Dir, "pg_dump", test_site:dump("timeout 2 yes xxxxxxxx")),
    Site = test_site:new(Dir, #{database => Database, encryption => #{password => "secret"}}),
    ?assert(length(watch(fun() -> zbackup:backup(Site) end)) > 3),
    watch(fun() -> zbackup:verify(Site) end).

progress_of_a_slow_database(Config) ->
    Dir = ?config(dir, Config),
    %% Talks all the time, for two seconds and more.
    Script = test_site:dump("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do\n"
                            "  echo x; sleep 0.1\ndone"),
    Site = test_site:new(Dir, #{database => test_site:pg_dump(Dir, "pg_dump", Script)}),
    Seen = [Progress || #{phase := database} = Progress <- watch(fun() -> zbackup:backup(Site) end)],
    ?assert(length(Seen) >= 4),
    ?assert(lists:all(fun(#{total := Total}) -> Total =:= undefined end, Seen)).

%% All progress of the job that begins here, each looked at.
watch(Begin) ->
    Start = erlang:monotonic_time(millisecond),
    {ok, Job} = Begin(),
    {{ok, _}, Reversed} = zbackup:await(Job, fun(Progress, Before) -> [Progress | Before] end, []),
    Milliseconds = erlang:monotonic_time(millisecond) - Start,
    All = lists:reverse(Reversed),
    lists:foreach(fun progress/1, All),
    Phases = phases(All),
    %% Four a second, and the start of each phase at once.
    ?assert(length(All) =< Milliseconds / 250 + length(Phases), {length(All), Milliseconds}),
    ?assertEqual(length(Phases), length(lists:usort(Phases)), Phases),
    All.

progress(#{phase := Phase, done := Done, total := Total, rate := Rate} = Progress) ->
    ?assertEqual(4, map_size(Progress)),
    ?assert(lists:member(Phase, [database, config, files, verify])),
    ?assert(is_integer(Done) andalso Done >= 0),
    ?assert(is_integer(Rate) andalso Rate >= 0),
    ?assert(Total =:= undefined orelse (is_integer(Total) andalso Done =< Total), Progress).

%% In each phase, what is done never becomes less.
phases([]) ->
    [];
phases([#{phase := Phase} | _] = All) ->
    {Same, Rest} = lists:splitwith(fun(#{phase := Other}) -> Other =:= Phase end, All),
    Done = [Bytes || #{done := Bytes} <- Same],
    ?assertEqual(lists:sort(Done), Done),
    [Phase | phases(Rest)].

progress_as_a_fold(Config) ->
    Site = test_site:new(?config(dir, Config)),
    {ok, First} = zbackup:backup(Site),
    Self = self(),
    {ok, _} = zbackup:await(First, fun(#{phase := Phase}) -> Self ! {seen, Phase} end),
    ?assertEqual([{seen, config}, {seen, files}], lists:usort(test_site:flush())),
    {ok, Second} = zbackup:backup(Site),
    {{ok, _}, Count} = zbackup:await(Second, fun(_, Number) -> Number + 1 end, 0),
    ?assert(Count >= 2).

cancel_leaves_nothing(Config) ->
    Dir = ?config(dir, Config),
    {ok, Job} = stuck(Dir),
    ?assertNotEqual(#{}, test_site:files(Dir ++ "/backup")),
    ?assertEqual(ok, zbackup:cancel(Job)),
    ?assertEqual(ok, zbackup:cancel(Job)),
    {error, cancelled, Message} = zbackup:await(Job),
    ?assert(is_binary(Message)),
    ?assertEqual(#{}, test_site:files(Dir ++ "/backup")),
    ?assertEqual([], test_site:flush()),
    test_site:until(fun() -> not test_site:is_alive(Dir ++ "/pid") end).

cancel_leaves_the_backup_before(Config) ->
    Dir = ?config(dir, Config),
    Site = test_site:new(Dir),
    {ok, _} = run(zbackup:backup(Site)),
    Before = test_site:files(Site),
    ?assertEqual(3, map_size(Before)),
    {ok, Job} = stuck(Dir),
    ok = zbackup:cancel(Job),
    {error, cancelled, _} = zbackup:await(Job),
    ?assertEqual(Before, test_site:files(Site)),
    ?assertMatch({ok, #{ok := true}}, run(zbackup:verify(Site))).

cancel_while_packing(Config) ->
    Dir = ?config(dir, Config),
    #{media_dir := Media} = Site = test_site:new(Dir),
    %% Of a site with a backup, the next one is not held for larger than that.
    {ok, _} = run(zbackup:backup(Site)),
    Before = test_site:files(Site),
    %% Large, and no room on the disk: 20 GB of zeros take far longer than it takes to cancel.
    Large = filename:join(Media, "large"),
    "" = os:cmd("truncate -s 20G " ++ Large),
    {ok, Job} = zbackup:backup(Site),
    receive {zbackup, Job, {progress, #{phase := files, done := Done}}} when Done > 0 -> ok end,
    ok = zbackup:cancel(Job),
    ?assertMatch({error, cancelled, _}, zbackup:await(Job)),
    ?assertEqual(Before, test_site:files(Site)),
    %% Whoever copies the folder would fill a disk.
    ok = file:delete(Large).

cancel_a_decryption(Config) ->
    Dir = ?config(dir, Config),
    In = filename:join(Dir, "in"),
    test_site:write(In, crypto:strong_rand_bytes(1000000)),
    {ok, _} = run(zbackup:encrypt(In, undefined, "secret")),
    cancel_a_decryption_of(In, test_site:files(Dir), 20).

%% On a fast machine it may be done before it is cancelled: then once more.
cancel_a_decryption_of(In, Before, Tries) ->
    Out = In ++ ".out",
    {ok, Job} = zbackup:decrypt(In ++ ".enc", Out, "secret"),
    %% Its first progress comes before the password is tried, which takes a while.
    receive {zbackup, Job, {progress, #{phase := decrypt}}} -> ok end,
    ok = zbackup:cancel(Job),
    case zbackup:await(Job) of
        {ok, _} when Tries > 1 ->
            ok = file:delete(Out),
            cancel_a_decryption_of(In, Before, Tries - 1);
        Ended ->
            ?assertMatch({error, cancelled, _}, Ended),
            ?assertEqual(Before, test_site:files(filename:dirname(In)))
    end.

owner_that_dies_cancels(Config) ->
    owner(Config, fun(Owner) -> exit(Owner, kill) end).

owner_that_ends_cancels(Config) ->
    owner(Config, fun(Owner) -> Owner ! 'end' end).

owner(Config, End) ->
    Dir = ?config(dir, Config),
    Self = self(),
    {Owner, Monitor} = spawn_monitor(fun() ->
        {ok, Job} = stuck(Dir),
        Self ! {ready, Job},
        receive 'end' -> ok end
    end),
    receive {ready, _} -> ok end,
    ?assert(test_site:is_alive(Dir ++ "/pid")),
    ?assertNotEqual(#{}, test_site:files(Dir ++ "/backup")),
    End(Owner),
    receive {'DOWN', Monitor, process, Owner, _} -> ok end,
    test_site:until(fun() -> test_site:files(Dir ++ "/backup") =:= #{} end),
    test_site:until(fun() -> not test_site:is_alive(Dir ++ "/pid") end).

%% A backup that is in the middle of a dump and would stay there.
stuck(Dir) ->
    Database = test_site:pg_dump(Dir, "stuck_pg_dump", test_site:dump(?WAITING)),
    Site = test_site:new(Dir, #{database => Database}),
    {ok, Job} = zbackup:backup(Site),
    receive {zbackup, Job, {progress, #{phase := database}}} -> ok end,
    test_site:until(fun() ->
        case file:read_file(Dir ++ "/pid") of
            {ok, <<_, _/binary>>} -> test_site:is_alive(Dir ++ "/pid");
            _ -> false
        end
    end),
    {ok, Job}.

%% The exit status of a child is lost inside of Erlang, for whoever asks for it in the usual way.
dump_with_exit_status(Config) ->
    [
        fails(Config, [test_site:dump(""), "echo the words of the command >&2\nexit ", Status, "\n"],
              ["the words of the command", Status])
     || Status <- ["1", "2", "77"]
    ].

dump_that_is_killed(Config) ->
    [
        fails(Config, [Dump, "\nkill -", Signal, " $$\n"], ["pg_dump"])
     || Dump <- [test_site:dump(""), "printf -- '--\\n-- PostgreSQL database dump\\n--\\n'"],
        Signal <- ["KILL", "TERM", "SEGV"]
    ].

dump_that_is_cut_off(Config) ->
    [
        fails(Config, [Dump, "exit 0\n"], ["pg_dump"])
     || Dump <- ["", "printf -- '--\\n-- PostgreSQL database dump\\n--\\n\\nCREATE TABLE t (id int);\\n'\n"]
    ].

dump_with_more_behind_it(Config) ->
    fails(Config, [test_site:dump(""), "echo 'DROP TABLE t;'\n"], ["goes on after its end"]).

dump_command_that_is_missing(Config) ->
    Site = with_backup(Config),
    Missing = #{user => "u", dbname => "d", pg_dump => "/no/such/pg_dump"},
    fails_with(Site#{database => Missing}, ["/no/such/pg_dump", "install"]).

%% A backup with such a dump is an error, and the one before stays as it was.
fails(Config, Script, Words) ->
    Site = with_backup(Config),
    Dir = ?config(dir, Config),
    fails_with(Site#{database => test_site:pg_dump(Dir, "pg_dump", Script)}, Words).

with_backup(Config) ->
    Dir = ?config(dir, Config),
    Good = test_site:pg_dump(Dir, "good_pg_dump", test_site:dump("")),
    Site = test_site:new(Dir, #{database => Good}),
    {ok, #{made := [#{part := database} | _]}} = run(zbackup:backup(Site)),
    Site.

fails_with(Site, Words) ->
    Before = test_site:files(Site),
    ?assertEqual(4, map_size(Before)),
    {error, database, Message} = run(zbackup:backup(Site)),
    [?assertNotEqual({nomatch, Message}, {string:find(Message, Word), Message}) || Word <- Words],
    ?assertEqual(Before, test_site:files(Site)),
    ?assertMatch({ok, #{ok := true}}, run(zbackup:verify(Site))).

dump_that_warns(Config) ->
    Dir = ?config(dir, Config),
    Script = test_site:dump("echo 'warning: héllo' >&2"),
    Site = test_site:new(Dir, #{database => test_site:pg_dump(Dir, "pg_dump", unicode:characters_to_binary(Script))}),
    %% What a restore would say of that dump comes after it.
    {ok, #{warnings := [Warning | _]}} = run(zbackup:backup(Site)),
    ?assertNotEqual(nomatch, string:find(Warning, "héllo")).

dump_gets_no_password_in_sight(Config) ->
    Dir = ?config(dir, Config),
    Password = "a:b\\c hunter2",
    Script = [
        test_site:dump("cat \"$PGPASSFILE\" >\"$DIR/passfile\"\n"
                       "{ echo \"$@\"; env; } >\"$DIR/seen\"\n"
                       "cat /proc/$PPID/cmdline /proc/$PPID/environ >>\"$DIR/seen\"")
    ],
    Database = test_site:pg_dump(Dir, "pg_dump", Script),
    Site = test_site:new(Dir, #{database => Database#{password => Password, schema => "my site"}}),
    {ok, _} = run(zbackup:backup(Site)),
    ?assertEqual({ok, <<"*:*:*:*:a\\:b\\\\c hunter2\n">>}, file:read_file(Dir ++ "/passfile")),
    {ok, Seen} = file:read_file(Dir ++ "/seen"),
    ?assertNotEqual(nomatch, string:find(Seen, "my site")),
    ?assertEqual(nomatch, string:find(Seen, "hunter2")).

run({ok, Job}) -> zbackup:await(Job);
run(Other) -> Other.
