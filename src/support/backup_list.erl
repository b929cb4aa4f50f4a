%% @doc The backups that are there, for pages and for a shell.
-module(backup_list).

-export([read/1, plain/1]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% @doc The backups of a site, the newest first.
-spec read(z:context()) -> [map()].
read(Context) ->
    case zbackup:list(#{backup_dir => backup_site:dir(Context)}) of
        {ok, #{backups := Backups, refused := Refused}} ->
            [entry(Backup) || Backup <- Backups] ++ [refused(Entry) || Entry <- Refused];
        {error, Kind, Message} ->
            ?LOG_ERROR(#{
                in => zotonic_mod_backup,
                text => <<"The list of backups cannot be read">>,
                result => error,
                reason => Kind,
                message => Message,
                site => z_context:site(Context)
            }),
            []
    end.

%% @doc A backup as `bin/zotonic backup SITE list' can show it.
-spec plain(map()) -> map().
plain(Backup) ->
    Plain = maps:with(
        [
            name,
            timestamp,
            is_running,
            is_encrypted,
            is_database_present,
            is_files_present,
            is_config_files_present,
            is_filestore_uploaded,
            size,
            problem
        ],
        Backup
    ),
    Shown = maps:filter(fun(_, Value) -> Value =/= undefined end, Plain),
    case Backup of
        #{verified := #{ok := IsProven, at := At}} -> Shown#{is_verified => IsProven, verified_at => At};
        _ -> Shown
    end.

entry(#{name := Name, timestamp := Timestamp, missing := Missing} = Backup) ->
    Shown = maps:with(
        [
            name,
            is_encrypted,
            is_database_present,
            is_files_present,
            is_config_files_present,
            is_filestore_uploaded,
            size
        ],
        Backup
    ),
    Shown#{
        timestamp => datetime(Timestamp),
        files_timestamp => datetime(maps:get(files_timestamp, Backup)),
        size_text => backup_text:size(maps:get(size, Backup)),
        duration_seconds => seconds(maps:get(duration_ms, Backup)),
        is_weekly => is_weekly(Name),
        verified => verified(maps:get(verified, Backup)),
        database_file => file(maps:get(database, Backup)),
        files_file => file(maps:get(files, Backup)),
        missing => Missing,
        problem => undefined
    }.

%% An entry that cannot be used has a reason and nothing else.
refused(#{name := Name, reason := Reason}) ->
    #{
        name => Name,
        timestamp => undefined,
        is_encrypted => false,
        is_database_present => false,
        is_files_present => false,
        is_config_files_present => false,
        is_filestore_uploaded => false,
        is_weekly => false,
        verified => undefined,
        missing => [],
        problem => Reason
    }.

file(#{file := File}) -> File;
file(undefined) -> undefined.

verified(#{at := At} = Verified) -> Verified#{at => datetime(At)};
verified(undefined) -> undefined.

datetime(undefined) -> undefined;
datetime(Timestamp) -> calendar:system_time_to_universal_time(Timestamp, second).

seconds(undefined) -> undefined;
seconds(Milliseconds) -> round(Milliseconds / 100) / 10.

is_weekly(Name) ->
    case string:split(Name, "-", trailing) of
        [_, <<"w", _>>] -> true;
        _ -> false
    end.
