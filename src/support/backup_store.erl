%% @doc Where the copies of the backups of a site go, and come from: the file store of mod_filestore, and the
%% object store of the settings of this module.
-module(backup_store).

-export([all/1]).

-include_lib("zotonic_core/include/zotonic.hrl").
-include_lib("zotonic_core/include/zotonic_file.hrl").

-export_type([store/0]).

%% One that speaks S3, or one that only Zotonic can speak to.
-type store() :: {s3, zbackup:offsite()} | filestore.

%% @doc The stores of a site; an error is one that cannot be used. Mostly there is one or none.
-spec all(z:context()) -> [store() | zbackup:error()].
all(Context) ->
    filestore(Context) ++ offsite(Context).

filestore(Context) ->
    case backup_config:filestore(Context) of
        {ok, #filestore_credentials{service = Service, location = Location, credentials = Credentials}} ->
            case {to_binary(Service), to_binary(Location), Credentials} of
                {<<"s3">>, <<"http", _/binary>> = Url, #{username := Key, password := Secret}} ->
                    [{s3, #{
                        url => url(Url),
                        access_key_id => to_binary(Key),
                        secret_access_key => to_binary(Secret),
                        region => backup_config:offsite_region(Context)
                    }}];
                _ ->
                    [filestore]
            end;
        undefined ->
            [];
        {error, _} ->
            [{error, unreachable,
              <<"the file store of the site (mod_filestore) does not say where it is; the log has more">>}]
    end.

offsite(Context) ->
    case backup_config:offsite(Context) of
        undefined -> [];
        #{secret_access_key := undefined} -> [missing(<<"offsite_secret">>)];
        #{access_key_id := undefined} -> [missing(<<"offsite_key">>)];
        Offsite -> [{s3, Offsite}]
    end.

missing(Key) ->
    {error, usage, <<"mod_backup.offsite_url is set and mod_backup.", Key/binary, " is not: set it as well">>}.

%% mod_filestore puts a slash behind its URL, and another one before the path.
url(Url) ->
    [Scheme, Rest] = binary:split(Url, <<"://">>),
    <<Scheme/binary, "://", (re:replace(Rest, "/+", "/", [global, {return, binary}]))/binary>>.

to_binary(Text) when is_list(Text) -> unicode:characters_to_binary(Text);
to_binary(Text) when is_binary(Text) -> Text;
to_binary(Atom) when is_atom(Atom) -> atom_to_binary(Atom).
