%% @doc Waits for a job of {@link zbackup}.
-module(zbackup_wait).

-export([await/3]).

%% @doc Waits for the end of a job of this process, with a fold over its progress.
-spec await(zbackup:job(), fun((zbackup:progress(), Acc) -> Acc), Acc) ->
    {{ok, zbackup:result()} | zbackup:error(), Acc}.
await(Job, Fun, Acc) ->
    case zbackup_nif:state(Job) of
        {ok, State} -> collect(Job, Fun, Acc, State);
        {error, _, _} = Error -> {Error, Acc}
    end.

%% A job has ended a moment after it sent its last message. So one that was waited for before can still
%% be running, and is asked again.
collect(Job, Fun, Acc, State) ->
    Patience = case State of
        running -> 1000;
        ended -> 0
    end,
    receive
        {zbackup, Job, {progress, Progress}} ->
            collect(Job, Fun, tell(Job, Fun, Progress, Acc), State);
        {zbackup, Job, {done, Result}} ->
            {{ok, Result}, Acc};
        {zbackup, Job, {error, Kind, Message}} ->
            {{error, Kind, Message}, Acc}
    after Patience ->
        case State of
            running ->
                await(Job, Fun, Acc);
            ended ->
                {{error, usage, <<"this job has ended, and its result was received before">>}, Acc}
        end
    end.

%% Nobody waits any more for the job of a function that failed.
tell(Job, Fun, Progress, Acc) ->
    try
        Fun(Progress, Acc)
    catch
        Class:Reason:Stack ->
            _ = zbackup_nif:cancel(Job),
            erlang:raise(Class, Reason, Stack)
    end.
