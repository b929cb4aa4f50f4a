%% @doc The border to native code under stress: a great many jobs that are started, cancelled and forgotten, their
%% module purged and loaded again, the node stopped while they run. In nodes of their own: one that crashes
%% is seen, and threads and memory are counted where nothing else happens.
%%
%% `make torture' sets ZBACKUP_TORTURE: so many times as much.
-module(zbackup_stress_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2]).
-export([
    jobs_that_end_in_every_way/1,
    module_that_is_purged_and_loaded_again/1,
    node_that_stops_in_the_middle/1
]).
%% In the nodes.
-export([storm/2, reload/2, work_and_stop/2]).

%% What may stay behind of all those jobs: what a memory allocator keeps, not something for each.
-define(GROWTH, 48 * 1024 * 1024).
-define(WORKERS, 4).

suite() ->
    [{timetrap, {minutes, 2 + 3 * times()}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), Name =/= module_info].

init_per_testcase(Name, Config) ->
    [{dir, test_site:dir(Name, Config)} | Config].

times() ->
    list_to_integer(os:getenv("ZBACKUP_TORTURE", "1")).

%% Jobs ------------------------------------------------------------------------------------------

jobs_that_end_in_every_way(Config) ->
    Node = node_here(),
    Report = call(Node, storm, [?config(dir, Config), 400 * times()]),
    ct:pal("~0tp", [Report]),
    #{ended := Ended, threads := {Before, After}, growth := Growth} = Report,
    %% Each way was taken, else this shows little. How often depends on the machine.
    [?assert(maps:get(How, Ended, 0) > 0, {How, Ended}) || How <- [done, cancelled, forgotten]],
    ?assertEqual([], maps:keys(Ended) -- [done, cancelled, forgotten, error]),
    ?assert(After =< Before, {Before, After}),
    ?assert(Growth < ?GROWTH, Growth),
    peer:stop(Node).

%% @doc So many jobs, by some workers at a time, and what became of them.
-spec storm(file:filename(), pos_integer()) -> map().
storm(Dir, Count) ->
    Sites = [site(filename:join(Dir, integer_to_list(Number))) || Number <- lists:seq(1, ?WORKERS)],
    %% What is made once is there before it is counted.
    _ = jobs(Sites, 40 * ?WORKERS),
    {Threads, Memory} = settled(fun threads/0),
    Ended = jobs(Sites, Count),
    test_site:until(fun() -> threads() =< Threads end),
    #{ended => Ended, threads => {Threads, threads()}, growth => memory() - Memory}.

jobs(Sites, Count) ->
    Each = Count div length(Sites),
    Workers = [spawn_monitor(fun() -> exit({ended, worker(Site, Each, #{})}) end) || Site <- Sites],
    lists:foldl(fun({Pid, Monitor}, Sum) ->
        receive
            {'DOWN', Monitor, process, Pid, {ended, Ended}} ->
                maps:merge_with(fun(_, A, B) -> A + B end, Sum, Ended);
            {'DOWN', Monitor, process, Pid, Reason} ->
                error(Reason)
        end
    end, #{}, Workers).

worker(_, 0, Ended) ->
    Ended;
worker(Site, Left, Ended) ->
    How = one(Site),
    worker(Site, Left - 1, maps:update_with(How, fun(Count) -> Count + 1 end, 1, Ended)).

%% One job. Its owner waits for it, cancels it after a while, dies, or does both.
one(Site) ->
    Start = work(Site, rand:uniform(12)),
    Wait = rand:uniform(12) - 1,
    {Owner, Monitor} = case rand:uniform(4) of
        1 ->
            spawn_monitor(fun() ->
                {ok, Job} = Start(),
                exit({ended, zbackup:await(Job)})
            end);
        2 ->
            spawn_monitor(fun() ->
                {ok, Job} = Start(),
                timer:sleep(Wait),
                ok = zbackup:cancel(Job),
                exit({ended, zbackup:await(Job)})
            end);
        3 ->
            {Pid, _} = Killed = spawn_monitor(fun() ->
                {ok, _} = Start(),
                receive never -> ok end
            end),
            timer:sleep(Wait),
            exit(Pid, kill),
            Killed;
        4 ->
            %% The job, and all that is known of it, is garbage at once.
            spawn_monitor(fun() ->
                {ok, Job} = Start(),
                ok = zbackup:cancel(Job)
            end)
    end,
    receive
        {'DOWN', Monitor, process, Owner, {ended, {ok, _}}} -> done;
        {'DOWN', Monitor, process, Owner, {ended, {error, cancelled, _}}} -> cancelled;
        {'DOWN', Monitor, process, Owner, {ended, {error, internal, Message}}} -> error(Message);
        {'DOWN', Monitor, process, Owner, {ended, {error, _, _}}} -> error;
        {'DOWN', Monitor, process, Owner, killed} -> forgotten;
        {'DOWN', Monitor, process, Owner, normal} -> forgotten;
        {'DOWN', Monitor, process, Owner, Reason} -> error(Reason)
    end.

%% All kinds of jobs. Most are short; one in some takes 64 MiB for a password.
work(#{backup_dir := Dir} = Site, Kind) ->
    In = filename:join(Dir, "../in"),
    case Kind of
        1 -> fun() -> zbackup:backup(Site#{encryption => #{password => "secret"}}) end;
        2 -> fun() -> zbackup:encrypt(In, In ++ ".enc", "secret", #{force => true}) end;
        3 -> fun() -> zbackup:decrypt(In ++ ".z2", In ++ ".out", "wrong", #{force => true}) end;
        4 -> fun() -> zbackup:list_offsite(Site#{offsite => nowhere()}) end;
        5 -> fun() -> zbackup:settle(Site) end;
        6 -> fun() -> zbackup:restore(Site, "testsite-1") end;
        7 -> fun() -> zbackup:backup(Site#{database => #{user => "u", dbname => "d", pg_dump => "/bin/false"}}) end;
        _ when Kind > 10 -> fun() -> zbackup:verify(Site) end;
        _ -> fun() -> zbackup:backup(Site) end
    end.

nowhere() ->
    #{url => "s3://bucket/prefix", access_key_id => "k", secret_access_key => "s", timeout => 1, patience => 0,
      endpoint => "http://127.0.0.1:1"}.

site(Dir) ->
    Site = test_site:new(Dir, #{day => {2026, 11, 29}}),
    test_site:write(filename:join(Dir, "in"), crypto:strong_rand_bytes(100000)),
    {ok, Job} = zbackup:encrypt(filename:join(Dir, "in"), filename:join(Dir, "in.z2"), "secret"),
    {ok, _} = zbackup:await(Job),
    Site.

%% How many threads and how much memory, once that stays the same for a while.
settled(Count) ->
    First = Count(),
    %% Jobs that were forgotten may still be on their way out.
    timer:sleep(2000),
    case Count() of
        First -> {First, memory()};
        _ -> settled(Count)
    end.

threads() ->
    {ok, Threads} = file:list_dir("/proc/self/task"),
    length(Threads).

memory() ->
    _ = [erlang:garbage_collect(Pid) || Pid <- processes()],
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [KiB]} = re:run(Status, "VmRSS:\\s+([0-9]+)", [{capture, all_but_first, list}]),
    1024 * list_to_integer(KiB).

%% The module --------------------------------------------------------------------------------------

%% A job goes on, or is cancelled, when the code that started it is gone; and the next one starts.
module_that_is_purged_and_loaded_again(Config) ->
    Node = node_here(),
    Report = call(Node, reload, [?config(dir, Config), 30 * times()]),
    ct:pal("~0tp", [Report]),
    #{threads := {Before, After}, growth := Growth} = Report,
    ?assert(After =< Before, {Before, After}),
    ?assert(Growth < ?GROWTH, Growth),
    peer:stop(Node).

-spec reload(file:filename(), pos_integer()) -> map().
reload(Dir, Times) ->
    Site = site(Dir),
    [reload_once(Site) || _ <- lists:seq(1, 5)],
    {Threads, Memory} = settled(fun threads/0),
    [reload_once(Site) || _ <- lists:seq(1, Times)],
    test_site:until(fun() -> threads() =< Threads end),
    #{threads => {Threads, threads()}, growth => memory() - Memory}.

reload_once(Site) ->
    Self = self(),
    %% One that is waited for, one that is killed, and one that is forgotten.
    Starts = [work(Site, 12), work(Site, 8), work(Site, rand:uniform(12))],
    Owners = [
        spawn_monitor(fun() ->
            {ok, Job} = Start(),
            Self ! {started, self()},
            exit({ended, zbackup:await(Job)})
        end)
     || Start <- Starts
    ],
    [receive {started, Owner} -> ok; {'DOWN', _, process, Owner, Why} -> error(Why) end || {Owner, _} <- Owners],
    timer:sleep(rand:uniform(5) - 1),
    true = code:delete(zbackup_nif),
    case rand:uniform(3) of
        1 -> ok;
        _ -> exit(element(1, hd(Owners)), kill)
    end,
    _ = code:purge(zbackup_nif),
    {module, zbackup_nif} = code:load_file(zbackup_nif),
    {ok, _} = zbackup:list(Site),
    {ok, Job} = zbackup:verify(Site),
    case zbackup:await(Job) of
        {ok, _} -> ok;
        %% One of the others has the folder, or has made a backup with a password.
        {error, Kind, _} when Kind =:= in_progress; Kind =:= no_password; Kind =:= not_found -> ok
    end,
    lists:foreach(fun({Owner, Monitor}) ->
        receive
            {'DOWN', Monitor, process, Owner, {ended, {error, internal, Message}}} -> error(Message);
            {'DOWN', Monitor, process, Owner, {ended, _}} -> ok;
            {'DOWN', Monitor, process, Owner, killed} -> ok;
            {'DOWN', Monitor, process, Owner, Reason} -> error(Reason)
        end
    end, Owners).

%% The node ----------------------------------------------------------------------------------------

%% It stops as it was told to, and does not crash because threads are at work; and what was there is whole.
node_that_stops_in_the_middle(Config) ->
    Dir = ?config(dir, Config),
    #{media_dir := Media} = Site = site(Dir),
    {ok, Job} = zbackup:backup(Site),
    {ok, _} = zbackup:await(Job),
    Before = test_site:files(Site),
    Large = filename:join(Media, "large"),
    "" = os:cmd("truncate -s 20G " ++ Large),
    [
        begin
            ?assertEqual({Way, 0}, {Way, stopped(Dir, Way)}),
            %% What the node was in the middle of is taken away by the next one.
            {ok, Next} = zbackup:backup(Site#{database => #{user => "u", dbname => "d", pg_dump => "/bin/false"}}),
            {error, database, _} = zbackup:await(Next),
            ?assertEqual(Before, test_site:files(Site))
        end
     || _ <- lists:seq(1, times()), Way <- [init, halt, no_flush, term]
    ],
    %% Whoever copies the folder would fill a disk.
    ok = file:delete(Large).

%% The exit status of a node that is told to stop in this way.
stopped(Dir, Way) ->
    Paths = [filename:absname(Path) || Path <- code:get_path(), filelib:is_dir(Path)],
    Script = lists:flatten(io_lib:format("~s:work_and_stop(~0p, ~p).", [?MODULE, Dir, Way])),
    Port = open_port({spawn_executable, os:find_executable("erl")}, [
        exit_status,
        stderr_to_stdout,
        {args, ["-noshell", "-pa" | Paths] ++ ["-eval", Script]}
    ]),
    wait(Port, []).

wait(Port, Said) ->
    receive
        {Port, {data, Words}} -> wait(Port, [Said, Words]);
        {Port, {exit_status, 0}} -> 0;
        {Port, {exit_status, Status}} -> {Status, lists:flatten(Said)}
    after 60000 -> error({it_does_not_stop, lists:flatten(Said)})
    end.

%% @doc Starts jobs that would take long, and stops the node that they run in.
-spec work_and_stop(file:filename(), init | halt | no_flush | term) -> ok.
work_and_stop(Dir, Way) ->
    Site = (test_site:new(Dir, #{day => {2026, 11, 29}}))#{encryption => #{password => "secret"}},
    {ok, Job} = zbackup:backup(Site),
    receive {zbackup, Job, {progress, #{phase := files, done := Done}}} when Done > 0 -> ok end,
    %% And others, of which nobody knows how far they are.
    In = filename:join(Dir, "in"),
    [{ok, _} = zbackup:encrypt(In, lists:concat([In, ".", Number]), "secret", #{force => true})
     || Number <- lists:seq(1, 3)],
    timer:sleep(rand:uniform(100)),
    case Way of
        init -> init:stop();
        halt -> halt(0);
        no_flush -> erlang:halt(0, [{flush, false}]);
        term -> _ = os:cmd("kill -TERM " ++ os:getpid()), ok
    end.

%% -------------------------------------------------------------------------------------------------

node_here() ->
    Paths = lists:append([["-pa", filename:absname(Path)] || Path <- code:get_path(), filelib:is_dir(Path)]),
    {ok, Node, _} = peer:start(#{connection => standard_io, args => Paths}),
    Node.

call(Node, Function, Arguments) ->
    peer:call(Node, ?MODULE, Function, Arguments, infinity).
