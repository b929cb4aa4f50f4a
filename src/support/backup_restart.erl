%% @doc Starts a site again after its data was replaced. Its own processes go away with it, so that it is another
%% that does this; and when it cannot be done somebody is told, as the site goes on with what it had in memory or
%% is not there at all.
-module(backup_restart).

-export([start/1, await/1]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% How long it is waited for who wants to know, in milliseconds.
-define(PATIENCE, 5000).
%% How long a site may take to start, as looks at it and milliseconds between them.
-define(LOOKS, 1200).
-define(LOOK, 500).

%% @doc Starts the process.
-spec start(z:context()) -> pid().
start(Context) ->
    Site = z_context:site(Context),
    z_proc:spawn_md(fun() ->
        %% Asked while the site is there.
        Dir = try backup_site:dir(Context) catch _:_ -> undefined end,
        %% Who asked for this may not be there any more.
        Told = receive
            {tell, Asked, Ref} -> {Asked, Ref}
        after ?PATIENCE ->
            nobody
        end,
        Result = restart(Site),
        noted(Result, Site, Dir),
        tell(Told, Result)
    end).

%% @doc Waits until the site is there again.
-spec await(pid()) -> ok | {error, term()}.
await(Pid) ->
    Monitor = erlang:monitor(process, Pid),
    Pid ! {tell, self(), Monitor},
    receive
        {Monitor, Result} -> _ = erlang:demonitor(Monitor, [flush]), Result;
        {'DOWN', Monitor, process, Pid, _} -> {error, not_restarted}
    end.

restart(Site) ->
    try
        ok = until_started(Site, ?LOOKS),
        z_sites_manager:restart(Site)
    of
        {error, _} = Error -> Error;
        _ -> ok
    catch
        _:_ -> {error, not_restarted}
    end.

%% To start a site that is just starting does nothing: it would go on with the configuration of before.
until_started(Site, Looks) when Looks > 0 ->
    case z_sites_manager:get_site_status(Site) of
        {ok, starting} -> timer:sleep(?LOOK), until_started(Site, Looks - 1);
        _ -> ok
    end.

noted(ok, _, _) ->
    ok;
noted({error, Reason}, Site, Dir) ->
    ?LOG_ERROR(#{
        in => zotonic_mod_backup,
        text => <<"A backup is restored, and the site was not started again">>,
        result => error,
        reason => Reason,
        site => Site
    }),
    _ = Dir =:= undefined orelse backup_status:not_started_again(
        <<"what was restored is there, but the site could not be started again and may go on with what was "
          "before: run bin/zotonic restartsite ", (atom_to_binary(Site))/binary>>,
        Dir
    ),
    ok.

tell(nobody, _) -> ok;
tell({Asked, Ref}, Result) -> Asked ! {Ref, Result}, ok.
