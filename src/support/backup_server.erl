%% @doc The server of {@link mod_backup}: it owns the job that is running, one at a time, looks whether the nightly
%% backup is due, and keeps the server of the copies going.
-module(backup_server).
-behaviour(gen_server).

-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("zotonic_core/include/zotonic.hrl").

-record(job, {
    pid :: pid(),
    task :: backup_job:task(),
    started :: calendar:datetime(),
    progress :: zbackup:progress() | undefined,
    %% Who waits for its end.
    from :: gen_server:from() | undefined
}).

-record(state, {
    context :: z:context(),
    is_env_backup :: boolean(),
    job :: #job{} | undefined,
    %% The process that looks whether it is time.
    check :: pid() | undefined,
    %% The server that keeps the copies.
    copier :: pid() | undefined,
    %% Both in seconds of monotonic time.
    up_since :: integer(),
    retry_at :: integer(),
    %% Whether what a restore left could not be looked at, as another program had the folder.
    is_unsettled = false :: boolean()
}).

%% How often it is looked whether it is time for the nightly backup, in milliseconds.
-define(INTERVAL, 5 * 60 * 1000).
%% How long after its end the server of the copies is started again, in milliseconds.
-define(COPIER_AGAIN, 60 * 1000).
%% How long after one that failed it is tried again, in seconds.
-define(RETRY, 3600).

init(Args) ->
    process_flag(trap_exit, true),
    {context, Context} = proplists:lookup(context, Args),
    z_context:logger_md(Context),
    ok = ensure_queue(mod_backup),
    ok = ensure_queue(mod_backup_status),
    Now = erlang:monotonic_time(second),
    State = #state{
        context = z_acl:sudo(z_context:new(Context)),
        is_env_backup = m_site:environment(Context) =:= backup,
        up_since = Now,
        retry_at = Now
    },
    self() ! check,
    self() ! start_copier,
    %% Before anything else: what a restore left that was interrupted.
    {ok, started(settle, undefined, State)}.

handle_call(running, _From, State) ->
    {reply, shown(State#state.job), State};
handle_call({start, {backup, _, _, _}}, _From, #state{is_env_backup = true} = State) ->
    {reply, {error, env_backup}, State};
handle_call({start, Task}, _From, #state{job = undefined} = State) ->
    {reply, ok, started(Task, undefined, State)};
handle_call({restore, _, _} = Task, From, #state{job = undefined} = State) ->
    {noreply, started(Task, From, State)};
handle_call({start, _}, _From, State) ->
    {reply, {error, in_progress}, State};
handle_call({restore, _, _}, _From, State) ->
    {reply, {error, in_progress}, State};
handle_call(_, _From, State) ->
    {reply, {error, unknown_call}, State}.

handle_cast(_, State) ->
    {noreply, State}.

handle_info(check, State) ->
    _ = erlang:send_after(?INTERVAL, self(), check),
    {noreply, check(State)};
handle_info(start_copier, #state{context = Context} = State) ->
    case backup_copier:start_link(Context) of
        {ok, Pid} ->
            {noreply, State#state{copier = Pid}};
        {error, {already_started, _}} ->
            %% That of a server before this one: it is just ending.
            _ = erlang:send_after(100, self(), start_copier),
            {noreply, State}
    end;
handle_info({'EXIT', Pid, _}, #state{copier = Pid} = State) ->
    _ = erlang:send_after(?COPIER_AGAIN, self(), start_copier),
    {noreply, State#state{copier = undefined}};
handle_info(check_again, #state{check = undefined} = State) ->
    {noreply, check(State)};
handle_info(check_again, State) ->
    {noreply, State};
handle_info({checked, Pid, Checked}, #state{check = Pid} = State) ->
    {noreply, checked(Checked, State#state{check = undefined})};
handle_info({progress, Pid, Progress}, #state{job = #job{pid = Pid} = Job} = State) ->
    {noreply, State#state{job = Job#job{progress = Progress}}};
handle_info({job, Pid, Result}, #state{job = #job{pid = Pid} = Job} = State) ->
    Ended = ended(Job, Result, State),
    %% Only now is there no job any more that the pages would show.
    _ = Job#job.task =/= settle andalso backup_job:publish(ended, State#state.context),
    {noreply, Ended};
handle_info({'EXIT', Pid, Reason}, #state{job = #job{pid = Pid} = Job} = State) ->
    _ = backup_job:crashed(Job#job.task, Reason, State#state.context),
    Killed = {error, internal, <<"the process that worked on it was killed">>},
    {noreply, ended(Job, Killed, State)};
handle_info({'EXIT', Pid, _}, #state{check = Pid} = State) ->
    {noreply, check_failed(<<"the process that looked whether a backup is due ended">>, State)};
handle_info({'EXIT', _, _}, State) ->
    {noreply, State};
handle_info(_, State) ->
    {noreply, State}.

%% A link alone does not end a job when the server stops for no bad reason.
terminate(_, #state{job = #job{pid = Pid}}) ->
    exit(Pid, shutdown);
terminate(_, _) ->
    ok.

started(Task, From, #state{job = undefined} = State) ->
    State#state{
        job = #job{
            pid = backup_job:start(Task, self(), State#state.context),
            task = Task,
            started = calendar:universal_time(),
            from = From
        }
    }.

check(#state{is_unsettled = true, job = undefined} = State) ->
    check(started(settle, undefined, State#state{is_unsettled = false}));
check(#state{check = undefined, is_env_backup = false} = State) ->
    Up = erlang:monotonic_time(second) - State#state.up_since,
    State#state{check = backup_job:check(Up, is_backup(State#state.job), State#state.context)};
check(#state{check = Pid, is_env_backup = false} = State) ->
    %% It has had minutes, and it takes moments.
    unlink(Pid),
    exit(Pid, kill),
    check(check_failed(<<"looking whether a backup is due takes for ever">>, State));
check(State) ->
    State.

%% It is not known whether a backup is due: somebody has to know that.
check_failed(Message, State) ->
    _ = backup_job:check_failed(Message, State#state.context),
    State#state{check = undefined}.

is_backup(#job{task = {backup, _, _, _}}) -> true;
is_backup(_) -> false.

checked({backup, _, _, _} = Task, #state{job = undefined} = State) ->
    case erlang:monotonic_time(second) >= State#state.retry_at of
        true -> started(Task, undefined, State);
        false -> State
    end;
checked({backup, _, _, _}, #state{job = #job{task = settle}} = State) ->
    %% Just started. It will not be long.
    _ = erlang:send_after(1000, self(), check_again),
    State;
checked(_, State) ->
    State.

ended(#job{task = {restore, _, _}, from = From}, ok, State) ->
    gen_server:reply(From, {restarting, backup_restart:start(State#state.context)}),
    State#state{job = undefined};
ended(#job{task = settle}, completed, State) ->
    %% What was interrupted has just replaced what the site was started with.
    _ = backup_restart:start(State#state.context),
    State#state{job = undefined};
ended(#job{task = settle}, {error, in_progress, _}, State) ->
    State#state{job = undefined, is_unsettled = true};
ended(#job{task = Task, from = From}, Result, State) ->
    From =:= undefined orelse gen_server:reply(From, reason(Result)),
    _ = Result =:= ok andalso kind(Task) =:= backup andalso backup_copier:changed(State#state.context),
    State#state{job = undefined, retry_at = retry_at(Task, Result, State)}.

retry_at({backup, nightly, _, _}, {error, Kind, _}, _) when Kind =/= in_progress ->
    erlang:monotonic_time(second) + ?RETRY;
retry_at(_, _, State) ->
    State#state.retry_at.

%% What a shell shows with `~p'.
reason(ok) -> ok;
reason({error, Kind, _}) when Kind =:= in_progress; Kind =:= unknown_backup -> {error, Kind};
reason({error, Kind, Message}) -> {error, {Kind, Message}}.

shown(undefined) ->
    undefined;
shown(#job{task = Task, started = Started, progress = Progress}) ->
    #{kind => kind(Task), started => Started, progress => Progress}.

kind(Task) when is_atom(Task) -> Task;
kind(Task) -> element(1, Task).

%% Another site of this node may make it at the same moment.
ensure_queue(Name) ->
    case jobs:queue_info(Name) of
        undefined ->
            try
                jobs:add_queue(Name, [{regulators, [{counter, [{limit, 1}]}]}])
            catch
                Class:Reason:Stack ->
                    case jobs:queue_info(Name) of
                        undefined -> erlang:raise(Class, Reason, Stack);
                        {queue, _} -> ok
                    end
            end;
        {queue, _} ->
            ok
    end.
