%% @doc The settings of backups: those of the site, else those of the node (the application environment of
%% `zotonic_mod_backup'). When the node's are locked, only they count.
-module(backup_config).

-export([
    is_config_locked/0,
    daily_dump/1,
    backup_time/1,
    timezone/1,
    verify_after/1,
    notify_email/1,
    allow_manual_backup/1,
    allow_backup_download/1,
    admin_panel/1,
    encrypt_backups/1,
    encrypt_password/1,
    encryption/1,
    keep_encryption/2,
    ensure_encrypt_password/1,
    is_filestore_enabled/1,
    filestore/1,
    offsite/1,
    offsite_region/1,
    keep_offsite/2,
    retention_months/1,
    user_retention_days/1,
    deleted_user_retention_days/1
]).

-include_lib("zotonic_core/include/zotonic.hrl").
-include_lib("zotonic_core/include/zotonic_file.hrl").

-export_type([daily_dump/0, encryption/0, offsite/0]).

%% The settings of the store; what is not set is `undefined'.
-type offsite() :: #{
    url := binary(),
    endpoint := binary() | undefined,
    region := binary() | undefined,
    access_key_id := binary() | undefined,
    secret_access_key := binary() | undefined
}.

%% 0 none, 1 database and files, 2 only the database.
-type daily_dump() :: 0 | 1 | 2.

-type encryption() :: #{is_on := boolean(), password := binary()}.

%% @doc Whether the settings of a site are not its own to change.
-spec is_config_locked() -> boolean().
is_config_locked() ->
    to_bool(env(is_config_locked), false).

%% @doc What is backed up every night. All of it, when nobody said otherwise.
-spec daily_dump(z:context()) -> daily_dump().
daily_dump(Context) ->
    Text = text(daily_dump, Context),
    case string:lowercase(string:trim(Text)) of
        <<"2">> -> 2;
        <<"none">> -> 0;
        <<"nothing">> -> 0;
        <<>> when Text =/= <<>> -> 0;
        Word -> case to_bool(Word, true) of true -> 1; false -> 0 end
    end.

%% @doc When nightly backups are due, such as `03:00'. It is looked at when it is used.
-spec backup_time(z:context()) -> binary().
backup_time(Context) ->
    case text(backup_time, Context) of
        <<>> -> <<"03:00">>;
        Time -> Time
    end.

%% @doc The time zone of those hours: the site's own, when nobody said otherwise.
-spec timezone(z:context()) -> binary() | undefined.
timezone(Context) ->
    case text(timezone, Context) of
        <<>> ->
            case to_text(z_context:tz_config(Context)) of
                <<>> -> undefined;
                Zone -> Zone
            end;
        Zone ->
            Zone
    end.

%% @doc Whether each nightly backup is proven after it was made.
-spec verify_after(z:context()) -> boolean().
verify_after(Context) ->
    to_bool(value(verify_after, Context), true).

%% @doc Who gets a mail when backups fail; `undefined' is the administrator of the site.
-spec notify_email(z:context()) -> binary() | undefined.
notify_email(Context) ->
    case text(notify_email, Context) of
        <<>> -> undefined;
        Email -> Email
    end.

%% @doc Whether a backup can be started by hand.
-spec allow_manual_backup(z:context()) -> boolean().
allow_manual_backup(Context) ->
    to_bool(value(allow_manual_backup, Context), true).

%% @doc Whether backups can be downloaded.
-spec allow_backup_download(z:context()) -> boolean().
allow_backup_download(Context) ->
    to_bool(value(allow_backup_download, Context), true).

%% @doc Whether the pages of the admin show the panel with revisions. This is about pages and not about
%% backups: a site can always choose.
-spec admin_panel(z:context()) -> boolean().
admin_panel(Context) ->
    to_bool(own_value(admin_panel, Context), false).

%% @doc Whether backups are to be encrypted.
-spec encrypt_backups(z:context()) -> boolean().
encrypt_backups(Context) ->
    to_bool(value(encrypt_backups, Context), false).

%% @doc The password of encrypted backups; `<<>>' when there is none. It also opens what was encrypted
%% before encryption was switched off.
-spec encrypt_password(z:context()) -> binary().
encrypt_password(Context) ->
    text(backup_encrypt_password, Context).

%% @doc Makes a password when backups are to be encrypted and there is none, in the site or in the node.
%% Where the settings are locked it is for the node's owner to set one.
-spec ensure_encrypt_password(z:context()) -> ok | {error, term()}.
ensure_encrypt_password(Context) ->
    %% One at a time: two would make two, and somebody may have noted the first.
    jobs:run(mod_backup_status, fun() ->
        case not is_config_locked() andalso encryption(Context) of
            {ok, #{is_on := true, password := <<>>}} ->
                m_config:set_value(mod_backup, backup_encrypt_password, z_ids:password(), Context);
            {error, Kind, _} ->
                {error, Kind};
            _ ->
                ok
        end
    end).

%% @doc Whether backups are encrypted, and with what, from the table of the settings itself: the cache of
%% Zotonic takes a database that does not answer for a site without settings, and nothing may be stored in
%% the clear because of that. What else it knows is read again then.
-spec encryption(z:context()) -> {ok, encryption()} | zbackup:error().
encryption(Context) ->
    case is_config_locked() orelse not backup_site:has_database(Context) of
        true ->
            {ok, #{is_on => encrypt_backups(Context), password => encrypt_password(Context)}};
        false ->
            case table(Context) of
                {ok, Table} ->
                    z_depcache:flush(config, Context),
                    {ok, #{
                        is_on => to_bool(stored(encrypt_backups, Table, Context), false),
                        password => to_text(stored(backup_encrypt_password, Table, Context))
                    }};
                error ->
                    {error, database,
                        <<"the settings of the backups cannot be read from the database, and so it is not known "
                          "whether they are to be encrypted; it is tried again when the database answers">>}
            end
    end.

%% @doc Puts the password back that was there before the database was replaced, and the encryption on when it
%% was: backups are not stored in the clear from then on, and those of before can be opened.
-spec keep_encryption(encryption(), z:context()) -> unchanged | kept | {error, term()}.
keep_encryption(#{password := <<>>}, _Context) ->
    unchanged;
keep_encryption(#{is_on := WasOn, password := Password}, Context) ->
    case encryption(Context) of
        {ok, #{is_on := IsOn, password := Password}} when IsOn orelse not WasOn ->
            unchanged;
        {ok, #{is_on := IsOn}} ->
            Settings = [{backup_encrypt_password, Password}] ++ [{encrypt_backups, <<"1">>} || WasOn, not IsOn],
            Results = [m_config:set_value(mod_backup, Key, Value, Context) || {Key, Value} <- Settings],
            case [Error || {error, _} = Error <- Results] of
                [] -> kept;
                [Error | _] -> Error
            end;
        {error, Kind, _} ->
            {error, Kind}
    end.

%% There is always a row, so that no answer is not taken for no settings.
table(Context) ->
    try
        z_db:q(
            "select key, value from config where module = 'mod_backup' union all select '', ''",
            Context
        )
    of
        [_ | _] = Rows -> {ok, maps:from_list([{to_text(Key), Value} || {Key, Value} <- Rows])};
        _ -> error
    catch
        _:_ -> error
    end.

stored(Key, Table, Context) ->
    Name = atom_to_binary(Key),
    Value = case Table of
        #{Name := Own} -> Own;
        _ -> m_site:get(mod_backup, Key, Context)
    end,
    else_env(Key, Value).

%% @doc Whether media files are kept in a file store, and so are not to be backed up. One in trouble is
%% none: then they are.
-spec is_filestore_enabled(z:context()) -> boolean().
is_filestore_enabled(Context) ->
    case filestore(Context) of
        {ok, _} -> true;
        _ -> false
    end.

%% @doc Where the backups are in the file store of mod_filestore, when the site has one.
-spec filestore(z:context()) -> {ok, #filestore_credentials{}} | undefined | {error, atom()}.
filestore(Context) ->
    Lookup = #filestore_credentials_lookup{path = <<"backup/backup.json">>},
    try z_notifier:first(Lookup, Context) of
        {ok, #filestore_credentials{} = Credentials} -> {ok, Credentials};
        _ -> undefined
    catch
        Class:_ ->
            ?LOG_WARNING(#{
                in => zotonic_mod_backup,
                text => <<"The file store does not answer, media files are backed up here">>,
                result => error,
                reason => Class
            }),
            {error, Class}
    end.

%% @doc The object store of this module, when there is one.
-spec offsite(z:context()) -> offsite() | undefined.
offsite(Context) ->
    case some(offsite_url, Context) of
        undefined ->
            undefined;
        Url ->
            #{
                url => Url,
                endpoint => some(offsite_endpoint, Context),
                region => offsite_region(Context),
                access_key_id => some(offsite_key, Context),
                secret_access_key => some(offsite_secret, Context)
            }
    end.

%% @doc The region of the store; that of mod_filestore has none in its settings.
-spec offsite_region(z:context()) -> binary() | undefined.
offsite_region(Context) ->
    some(offsite_region, Context).

%% @doc Puts the settings of the store back that were there before the database was replaced: copies go on to
%% and come from the store that this machine knows.
-spec keep_offsite(offsite() | undefined, z:context()) -> unchanged | kept | {error, term()}.
keep_offsite(undefined, _Context) ->
    unchanged;
keep_offsite(Before, Context) ->
    z_depcache:flush(config, Context),
    case is_config_locked() orelse offsite(Context) of
        true ->
            unchanged;
        Before ->
            unchanged;
        _ ->
            Keys = [
                {offsite_endpoint, endpoint}, {offsite_region, region}, {offsite_key, access_key_id},
                {offsite_secret, secret_access_key}, {offsite_url, url}
            ],
            Results = [
                m_config:set_value(mod_backup, Key, to_text(maps:get(Name, Before)), Context)
             || {Key, Name} <- Keys
            ],
            case [Error || {error, _} = Error <- Results] of
                [] -> kept;
                [Error | _] -> Error
            end
    end.

some(Key, Context) ->
    case string:trim(text(Key, Context)) of
        <<>> -> undefined;
        Text -> Text
    end.

%% @doc How many months revisions of pages are kept. At least one.
-spec retention_months(z:context()) -> pos_integer().
retention_months(Context) ->
    max(1, to_integer(own_value(revision_retention_months, Context), 18)).

%% @doc How many days revisions of users are kept. At least one.
-spec user_retention_days(z:context()) -> pos_integer().
user_retention_days(Context) ->
    max(1, to_integer(own_value(user_revision_retention_days, Context), 90)).

%% @doc How many days revisions of deleted users are kept. At most 30.
-spec deleted_user_retention_days(z:context()) -> 1..30.
deleted_user_retention_days(Context) ->
    case to_integer(own_value(user_deletion_retention_days, Context), 30) of
        Days when Days >= 1, Days =< 30 -> Days;
        _ -> 30
    end.

text(Key, Context) ->
    to_text(value(Key, Context)).

value(Key, Context) ->
    case is_config_locked() of
        true -> env(Key);
        false -> own_value(Key, Context)
    end.

own_value(Key, Context) ->
    else_env(Key, m_config:get_value(mod_backup, Key, Context)).

else_env(Key, None) when None =:= undefined; None =:= <<>>; None =:= "" -> env(Key);
else_env(_, Value) -> Value.

env(Key) ->
    application:get_env(zotonic_mod_backup, Key, undefined).

%% A configuration file has strings, the database has binaries, and people write atoms and numbers.
to_text(undefined) -> <<>>;
to_text(Text) when is_binary(Text) -> Text;
to_text(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
to_text(Number) when is_integer(Number) -> integer_to_binary(Number);
to_text(Text) when is_list(Text) ->
    case unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _ -> <<>>
    end;
to_text(_) -> <<>>.

to_bool(Value, Default) ->
    case string:lowercase(to_text(Value)) of
        <<>> -> Default;
        No when No =:= <<"0">>; No =:= <<"false">>; No =:= <<"no">>; No =:= <<"off">>; No =:= <<"n">>;
                No =:= <<"f">> -> false;
        _ -> true
    end.

to_integer(Value, Default) ->
    case string:to_integer(to_text(Value)) of
        {Integer, <<>>} when is_integer(Integer) -> Integer;
        _ -> Default
    end.
