%% @doc The database connections of a site are paused while its database is replaced, and never for longer:
%% a process outside of the supervision of the module watches the one that asked for it, and lets them go on
%% when it says so or is there no more.
-module(backup_pool).

-export([pause/1, unpause/0]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% @doc Pauses the connections until the calling process says otherwise, or ends. Returns when they are paused.
-spec pause(z:context()) -> ok.
pause(Context) ->
    Owner = self(),
    Ref = make_ref(),
    Guard = z_proc:spawn_md(fun() ->
        Monitor = erlang:monitor(process, Owner),
        try
            z_db_pool:pause_connections(Context),
            Owner ! {Ref, paused},
            receive
                {unpause, Ref} -> ok;
                {'DOWN', Monitor, process, Owner, _} -> ok
            end
        after
            z_db_pool:unpause_connections(Context),
            %% What was asked for in between was answered with nothing, and that is remembered.
            z_depcache:flush(config, Context),
            Owner ! {Ref, unpaused}
        end
    end),
    Monitor = erlang:monitor(process, Guard),
    _ = put(?MODULE, {Guard, Monitor, Ref}),
    receive
        {Ref, paused} -> ok;
        {'DOWN', Monitor, process, Guard, _} -> error(not_paused)
    end.

%% @doc Lets the connections go on that the calling process paused, if it did. Returns when they do.
-spec unpause() -> ok.
unpause() ->
    case erase(?MODULE) of
        undefined ->
            ok;
        {Guard, Monitor, Ref} ->
            Guard ! {unpause, Ref},
            receive
                {Ref, unpaused} -> ok;
                {'DOWN', Monitor, process, Guard, _} -> ok
            end,
            _ = erlang:demonitor(Monitor, [flush]),
            ok
    end.
