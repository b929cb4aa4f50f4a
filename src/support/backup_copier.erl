%% @doc Keeps the copies of the backups of a site going, beside {@link mod_backup}: a store that is slow or in
%% trouble keeps no backup waiting. It uploads after each backup and, in the `backup' environment, looks for
%% newer ones every hour. What one round of it does is in {@link backup_copy}.
-module(backup_copier).
-behaviour(gen_server).

-export([start_link/1, name/1, start/1, changed/1, state/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("zotonic_core/include/zotonic.hrl").

-export_type([state/0, failure/0]).

%% The round that did not go well, and none since then that did.
-type failure() :: #{kind := upload | download, at := calendar:datetime(), message := unicode:unicode_binary()}.

%% What is under way, and when the last round was over.
-type state() :: #{
    running := mod_backup:running() | undefined,
    failure := failure() | undefined,
    looked_at := calendar:datetime() | undefined,
    newest := zbackup:newest() | undefined
}.

-record(job, {
    pid :: pid(),
    kind :: upload | download,
    started :: calendar:datetime(),
    progress :: zbackup:progress() | undefined
}).

-record(state, {
    context :: z:context(),
    kind :: upload | download,
    job :: #job{} | undefined,
    timer :: reference() | undefined,
    %% Whether all is to be looked at, and not only what is not marked as uploaded.
    is_due = true :: boolean(),
    %% Whether that is to be done again, as something changed after the round began.
    is_again = false :: boolean(),
    failure :: failure() | undefined,
    looked_at :: calendar:datetime() | undefined,
    newest :: zbackup:newest() | undefined
}).

%% How long after the start the first round is, and how often one is after that, in milliseconds.
-define(FIRST, 1000).
-define(INTERVAL, 60 * 60 * 1000).
%% The same when something else had the folder.
-define(SOON, 20 * 1000).
%% And when a replica has no store: the module that has it may not be there yet.
-define(NO_STORE, 60 * 1000).
-define(TIMEOUT, 5000).

-spec start_link(z:context()) -> gen_server:start_ret().
start_link(Context) ->
    gen_server:start_link({local, name(Context)}, ?MODULE, Context, []).

%% @doc The name of its process.
-spec name(z:context()) -> atom().
name(Context) ->
    z_utils:name_for_site(?MODULE, Context).

%% @doc Starts a round now.
-spec start(z:context()) -> ok | {error, in_progress | not_running}.
start(Context) ->
    call(start, {error, not_running}, Context).

%% @doc There is a new backup, or the store is another.
-spec changed(z:context()) -> ok.
changed(Context) ->
    gen_server:cast(name(Context), changed).

%% @doc How it goes.
-spec state(z:context()) -> state().
state(Context) ->
    call(state, #{running => undefined, failure => undefined, looked_at => undefined, newest => undefined}, Context).

call(Request, Else, Context) ->
    try
        gen_server:call(name(Context), Request, ?TIMEOUT)
    catch
        exit:_ -> Else
    end.

init(Context) ->
    process_flag(trap_exit, true),
    z_context:logger_md(Context),
    Kind = case m_site:environment(Context) of
        backup -> download;
        _ -> upload
    end,
    {ok, again(?FIRST, #state{context = Context, kind = Kind})}.

handle_call(state, _From, #state{} = State) ->
    #state{job = Job, failure = Failure, looked_at = At, newest = Newest} = State,
    {reply, #{running => shown(Job), failure => Failure, looked_at => At, newest => Newest}, State};
handle_call(start, _From, #state{job = undefined} = State) ->
    {reply, ok, started(State#state{is_due = true})};
handle_call(start, _From, State) ->
    {reply, {error, in_progress}, State};
handle_call(_, _From, State) ->
    {reply, {error, unknown_call}, State}.

handle_cast(changed, #state{job = undefined} = State) ->
    %% A setting is mostly not the last one that is changed.
    {noreply, again(?FIRST, State#state{is_due = true})};
handle_cast(changed, State) ->
    {noreply, State#state{is_again = true}};
handle_cast(_, State) ->
    {noreply, State}.

handle_info(round, #state{job = undefined} = State) ->
    {noreply, started(State)};
handle_info(round, State) ->
    %% A round can take longer than the time until the next.
    {noreply, again(?INTERVAL, State)};
handle_info({progress, Pid, Progress}, #state{job = #job{pid = Pid} = Job} = State) ->
    {noreply, State#state{job = Job#job{progress = Progress}}};
handle_info({round, Pid, Result}, #state{job = #job{pid = Pid}} = State) ->
    {noreply, ended(Result, State)};
handle_info({'EXIT', Pid, _}, #state{job = #job{pid = Pid}} = State) ->
    {noreply, ended({error, internal, <<"the process that worked on it was killed">>}, State)};
handle_info(_, State) ->
    {noreply, State}.

%% A link alone does not end a job when the server stops for no bad reason.
terminate(_, #state{job = #job{pid = Pid}}) ->
    exit(Pid, shutdown);
terminate(_, _) ->
    ok.

started(#state{kind = Kind, is_due = IsDue, context = Context} = State) ->
    Pid = backup_copy:start(Kind, IsDue, self(), Context),
    Job = #job{pid = Pid, kind = Kind, started = calendar:universal_time()},
    again(?INTERVAL, State#state{job = Job, is_again = false}).

%% A new round of what failed, or of what a new backup came after, looks at all of it.
ended(Result, #state{kind = Kind, is_again = IsAgain} = State) ->
    Now = calendar:universal_time(),
    Ended = State#state{job = undefined, is_due = true},
    Noted = case Result of
        {ok, Newest} ->
            Ended#state{failure = undefined, is_due = false, newest = Newest, looked_at = Now};
        no_store when Kind =:= upload ->
            %% What there is goes to the store that comes.
            Ended#state{failure = undefined};
        no_store ->
            Message = <<"there is no store to take backups from: set mod_backup.offsite_url and what goes with it, or "
                        "enable mod_filestore">>,
            again(?NO_STORE, Ended#state{failure = #{kind => Kind, at => Now, message => Message}});
        {error, in_progress, _} ->
            again(?SOON, Ended#state{looked_at = Now});
        {error, _, Message} ->
            Ended#state{failure = #{kind => Kind, at => Now, message => Message}, looked_at = Now}
    end,
    %% Only now is it known what the pages are to show.
    backup_job:publish(ended, State#state.context),
    case IsAgain of
        true -> started(Noted#state{is_due = true});
        false -> Noted
    end.

%% One timer at a time.
again(Time, #state{timer = Timer} = State) ->
    _ = is_reference(Timer) andalso erlang:cancel_timer(Timer),
    State#state{timer = erlang:send_after(Time, self(), round)}.

shown(undefined) ->
    undefined;
shown(#job{kind = Kind, started = Started, progress = Progress}) ->
    #{kind => Kind, started => Started, progress => Progress}.
