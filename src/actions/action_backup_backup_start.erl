%% @doc The action `backup_start': starts a backup, a full one with `is_full_backup'.
-module(action_backup_backup_start).

-export([render_action/4, event/2]).

-include_lib("zotonic_core/include/zotonic.hrl").

-spec render_action(term(), term(), list(), z:context()) -> {iodata(), z:context()}.
render_action(TriggerId, TargetId, Args, Context) ->
    IsFull = case proplists:get_value(is_full_backup, Args, false) of
        No when No =:= false; No =:= undefined; No =:= 0; No =:= <<"false">>; No =:= <<"0">>; No =:= <<>> ->
            false;
        _ ->
            true
    end,
    {Script, _} = z_render:make_postback({backup_start, IsFull}, undefined, TriggerId, TargetId, ?MODULE, Context),
    {Script, Context}.

-spec event(#postback{}, z:context()) -> z:context().
event(#postback{message = {backup_start, IsFull}}, Context) ->
    IsAllowed = z_acl:is_allowed(use, mod_backup, Context) andalso not z_acl:is_read_only(Context),
    case IsAllowed andalso backup_config:allow_manual_backup(Context) of
        true ->
            started(mod_backup:start_backup(IsFull, Context), Context);
        false when IsAllowed ->
            z_render:growl_error(?__("Backups cannot be started by hand: the configuration forbids it.", Context), Context);
        false ->
            z_render:growl_error(?__("You are not allowed to start a backup.", Context), Context)
    end.

started(ok, Context) ->
    z_render:growl(?__("The backup has started. It goes on when you leave this page.", Context), Context);
started({error, in_progress}, Context) ->
    z_render:growl_error(?__("Something else is in progress. Try again when it is done.", Context), Context);
started({error, env_backup}, Context) ->
    z_render:growl_error(?__("This site is a replica: its backups come from another server.", Context), Context);
started({error, _}, Context) ->
    z_render:growl_error(?__("The backup module is not running.", Context), Context).
