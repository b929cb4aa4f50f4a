%% @doc The page of the backups in the admin: what there is, how it goes, what can be done.
-module(controller_admin_backup).

-export([service_available/1, is_authorized/1, process/4, event/2]).

-include_lib("zotonic_core/include/zotonic.hrl").

-spec service_available(z:context()) -> {boolean(), z:context()}.
service_available(Context) ->
    {true, z_context:set_nocache_headers(z_context:set_noindex_header(Context))}.

-spec is_authorized(z:context()) -> {boolean(), z:context()}.
is_authorized(Context) ->
    z_controller_helper:is_authorized([{use, mod_backup}], Context).

-spec process(binary(), term(), term(), z:context()) -> {iodata(), z:context()}.
process(_Method, _AcceptedCT, _ProvidedCT, Context) ->
    Html = z_template:render("admin_backup.tpl", [{page_admin_backup, true}], Context),
    z_context:output(Html, Context).

-spec event(#postback{} | #submit{}, z:context()) -> z:context().
event(#postback{message = config_backup_panel}, Context) ->
    set_config(admin_panel, [<<>>, <<"1">>], Context);
event(#postback{message = config_encrypt_backups}, Context) ->
    unless_locked(fun() -> set_config(encrypt_backups, [<<>>, <<"1">>], Context) end, Context);
event(#postback{message = config_backup_daily}, Context) ->
    unless_locked(fun() -> set_config(daily_dump, [<<"0">>, <<"1">>, <<"2">>], Context) end, Context);
event(#submit{message = config_offsite}, Context) ->
    unless_locked(fun() -> set_offsite(Context) end, Context);
event(#postback{message = {verify, Args}}, Context) ->
    {name, Name} = proplists:lookup(name, Args),
    case is_allowed(Context) of
        true ->
            case mod_backup:verify_backup(Name, Context) of
                ok ->
                    z_render:growl(?__("The proof has started.", Context), Context);
                {error, Reason} ->
                    z_render:growl_error(busy(Reason, Context), Context)
            end;
        false ->
            denied(Context)
    end;
event(#submit{message = {restore_backup, Args}}, Context) ->
    {name, Name} = proplists:lookup(name, Args),
    Parts = [Part || Part <- [database, files, config, security],
             is_set(z_context:get_q(atom_to_binary(Part), Context))],
    Site = atom_to_binary(z_context:site(Context)),
    IsMeant = z_context:get_q(<<"confirm">>, Context) =:= Site,
    case z_acl:is_admin_editable(Context) of
        true when not IsMeant ->
            z_render:growl_error(?__("Type the name of the site to confirm that you mean it.", Context), Context);
        true when Parts =:= [] ->
            z_render:growl_error(?__("Choose what to restore.", Context), Context);
        true ->
            case mod_backup:running(Context) of
                undefined -> restore(Name, Parts ++ made(proplists:get_value(timestamp, Args)), Context);
                #{} -> z_render:growl_error(busy(in_progress, Context), Context)
            end;
        false ->
            denied(Context)
    end.

%% When the backup was made that the dialog showed.
made(undefined) -> [];
made(At) -> [{timestamp, calendar:datetime_to_gregorian_seconds(At) - 62167219200}].

%% It outlives the processes of the site, which are started again. When it is refused, that is known at once;
%% what becomes of it later is shown by the page.
restore(Name, Options, Context) ->
    %% An answer that comes too late goes nowhere.
    Ref = erlang:alias(),
    _ = z_proc:spawn_md(fun() -> Ref ! {Ref, mod_backup:restore_backup(Name, Options, Context)} end),
    Answer = receive
        {Ref, Result} -> Result
    after 500 ->
        ok
    end,
    _ = erlang:unalias(Ref),
    case Answer of
        ok ->
            restore_started(Context);
        {error, Reason} when Reason =:= in_progress; Reason =:= not_running ->
            z_render:growl_error(busy(Reason, Context), Context);
        {error, _} ->
            z_render:wire({dialog_close, []}, z_render:growl_error(
                ?__("The backup is not restored: see the message on the page.", Context),
                Context
            ))
    end.

restore_started(Context) ->
    z_render:wire({dialog_close, []}, z_render:growl(
        ?__("The restore has started. The site is started again when it is done.", Context),
        Context
    )).

is_allowed(Context) ->
    z_acl:is_allowed(use, mod_backup, Context) andalso not z_acl:is_read_only(Context).

unless_locked(Set, Context) ->
    case backup_config:is_config_locked() of
        true ->
            z_render:growl_error(
                ?__("These settings are in the configuration of the server, and cannot be changed here.", Context),
                Context
            );
        false ->
            Set()
    end.

%% What a form sends is one of a few values. A checkbox that is off sends none.
set_config(Key, Values, Context) ->
    Value = case z_context:get_q(<<"triggervalue">>, Context) of
        undefined -> <<>>;
        <<"false">> -> <<>>;
        Text -> Text
    end,
    case z_acl:is_admin_editable(Context) of
        true ->
            case lists:member(Value, Values) of
                true -> saved(m_config:set_value(mod_backup, Key, config_value(Value), Context), Context);
                false -> z_render:growl_error(?__("This is not one of the choices.", Context), Context)
            end;
        false ->
            denied(Context)
    end.

%% The secret is only changed when there is another: the page does not have the old one. Without a place it has
%% no use.
set_offsite(Context) ->
    Text = fun(Key) -> string:trim(z_convert:to_binary(z_context:get_q(atom_to_binary(Key), Context))) end,
    Url = Text(offsite_url),
    Secret = case {Url, Text(offsite_secret)} of
        {<<>>, _} -> [{offsite_secret, <<>>}];
        {_, <<>>} -> [];
        {_, New} -> [{offsite_secret, New}]
    end,
    Settings = [{Key, Text(Key)} || Key <- [offsite_endpoint, offsite_region, offsite_key]]
        ++ Secret ++ [{offsite_url, Url}],
    case z_acl:is_admin_editable(Context) of
        true ->
            Results = [m_config:set_value(mod_backup, Key, Value, Context) || {Key, Value} <- Settings],
            Result = case [Error || {error, _} = Error <- Results] of [] -> ok; [Error | _] -> Error end,
            %% The page need not keep what was typed there.
            z_render:wire({set_value, [{target, "offsite_secret"}, {value, <<>>}]}, saved(Result, Context));
        false ->
            denied(Context)
    end.

saved(ok, Context) ->
    %% Encryption that is switched on makes a password, which the page then speaks of. What has the focus
    %% stays as it is.
    _ = backup_config:ensure_encrypt_password(Context),
    backup_job:publish(settings, Context),
    z_render:update(
        "backup-password-note",
        z_template:render("_admin_backup_password.tpl", [], Context),
        z_render:growl(?__("The settings are changed.", Context), Context)
    );
saved({error, _}, Context) ->
    z_render:growl_error(?__("The settings could not be changed.", Context), Context).

%% Nothing would be looked for in the configuration of the node.
config_value(<<>>) -> <<"0">>;
config_value(Value) -> Value.

is_set(undefined) -> false;
is_set(<<>>) -> false;
is_set(_) -> true.

denied(Context) ->
    z_render:growl_error(?__("You are not allowed to do this.", Context), Context).

busy(in_progress, Context) -> ?__("Something else is in progress. Try again when it is done.", Context);
busy(_, Context) -> ?__("The backup module is not running.", Context).
