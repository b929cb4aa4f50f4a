%% @doc The backups of a site, for templates: `m.backup'. All but `admin_panel' is for who may use
%% `mod_backup'.
-module(m_backup).
-behaviour(zotonic_model).

-export([m_get/3]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% How old the last good backup may be, in seconds, before somebody is warned.
-define(STALE, 2 * 24 * 3600).

-spec m_get([term()], zotonic_model:opt_msg(), z:context()) -> zotonic_model:return().
m_get([<<"admin_panel">> | Rest], _Msg, Context) ->
    {ok, {backup_config:admin_panel(Context), Rest}};
m_get([Key | Rest], _Msg, Context) ->
    case z_acl:is_allowed(use, mod_backup, Context) of
        true ->
            case value(Key, Context) of
                {ok, Value} -> {ok, {Value, Rest}};
                error -> {error, unknown_path}
            end;
        false ->
            {error, eacces}
    end;
m_get([], _Msg, _Context) ->
    {error, unknown_path}.

value(<<"allow_manual_backup">>, Context) ->
    {ok, backup_config:allow_manual_backup(Context)};
value(<<"allow_backup_download">>, Context) ->
    {ok, backup_config:allow_backup_download(Context)};
value(<<"daily_dump">>, Context) ->
    {ok, integer_to_binary(backup_config:daily_dump(Context))};
value(<<"backup_time">>, Context) ->
    {ok, backup_config:backup_time(Context)};
value(<<"timezone">>, Context) ->
    {ok, backup_config:timezone(Context)};
value(<<"verify_after">>, Context) ->
    {ok, backup_config:verify_after(Context)};
value(<<"encrypt_backups">>, Context) ->
    {ok, backup_config:encrypt_backups(Context)};
value(<<"has_encrypt_password">>, Context) ->
    {ok, backup_config:encrypt_password(Context) =/= <<>>};
value(<<"is_config_locked">>, _Context) ->
    {ok, backup_config:is_config_locked()};
value(<<"is_filestore_enabled">>, Context) ->
    {ok, backup_config:is_filestore_enabled(Context)};
value(<<"list_backups">>, Context) ->
    {ok, mod_backup:list_backups(Context)};
value(<<"is_backup_in_progress">>, Context) ->
    {ok, mod_backup:backup_in_progress(Context)};
value(<<"running">>, Context) ->
    {ok, running(mod_backup:running(Context))};
value(<<"status">>, Context) ->
    {ok, status(Context)};
value(<<"failures">>, Context) ->
    {ok, mod_backup:failures(Context)};
value(<<"copying">>, Context) ->
    {ok, running(mod_backup:copying(Context))};
value(<<"replica">>, Context) ->
    {ok, replica(backup_replica:state(Context))};
value(<<"offsite">>, Context) ->
    %% Where it is and with which key is for those who can change it.
    {ok, case z_acl:is_admin_editable(Context) of
        true -> offsite(backup_config:offsite(Context));
        false -> undefined
    end};
value(<<"directory">>, Context) ->
    {ok, unicode:characters_to_binary(backup_site:dir(Context))};
value(_, _) ->
    error.

%% The job that is running, with its share in percent where all of it is known.
running(undefined) ->
    undefined;
running(#{kind := Kind, started := Started, progress := undefined}) ->
    #{kind => Kind, started => Started, phase => undefined};
running(#{kind := Kind, started := Started, progress := Progress}) ->
    #{phase := Phase, done := Done, total := Total, rate := Rate} = Progress,
    #{
        kind => Kind,
        started => Started,
        phase => Phase,
        done => backup_text:size(Done),
        total => backup_text:size(Total),
        rate => backup_text:size(Rate),
        percent => percent(Done, Total)
    }.

replica(undefined) -> undefined;
replica(#{behind := Behind} = State) -> State#{behind => backup_text:duration(Behind)}.

%% The secret is not for a page.
offsite(undefined) ->
    undefined;
offsite(#{secret_access_key := Secret} = Offsite) ->
    (maps:remove(secret_access_key, Offsite))#{has_secret => Secret =/= undefined}.

percent(_, undefined) -> undefined;
percent(_, 0) -> 100;
percent(Done, Total) -> min(100, Done * 100 div Total).

%% How it goes: what a person should look at.
status(Context) ->
    IsNightly = backup_config:daily_dump(Context) =/= 0
        andalso m_site:environment(Context) =/= backup,
    Schedule = backup_site:schedule(Context),
    #{failure := Failure} = backup_status:read(Context),
    Status = #{
        is_nightly => IsNightly,
        failure => failure(Failure),
        next => undefined,
        last_good => undefined,
        is_stale => IsNightly,
        problem => undefined
    },
    case zbackup:due(Schedule) of
        {ok, #{next := #{at := Next}, last_good := Last}} ->
            Status#{
                next => datetime(Next),
                last_good => datetime(Last),
                is_stale => IsNightly andalso is_stale(Last)
            };
        {error, _, Message} ->
            Status#{problem => Message}
    end.

is_stale(undefined) -> true;
is_stale(Last) -> erlang:system_time(second) - Last > ?STALE.

failure(undefined) -> undefined;
failure(#{at := At} = Failure) -> Failure#{at => datetime(At)}.

datetime(undefined) -> undefined;
datetime(Timestamp) -> calendar:system_time_to_universal_time(Timestamp, second).
