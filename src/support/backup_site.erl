%% @doc What a site is and where its things are, as a request to {@link zbackup}.
-module(backup_site).

-export([request/2, restorable/1, store/1, dir/1, includes_media/1, schedule/1, has_database/1, database/1, database_name/1]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% @doc All of a site, or all but its media files. When backups are to be encrypted and there is no
%% password, there is no request: nothing is stored in the clear that should not be.
-spec request(full | database, z:context()) -> {ok, zbackup:request()} | zbackup:error().
request(What, Context) ->
    case encryption(Context) of
        {ok, Encryption} ->
            IsMediaHere = includes_media(Context),
            Site = site(Context),
            {ok, Site#{
                media_dir => case IsMediaHere of
                    true -> z_path:media_archive(Context);
                    false -> undefined
                end,
                encryption => Encryption,
                %% The media files of a name are kept when only the database is backed up. Where a file
                %% store has them, those of before go with the backup that they belong to.
                database_only => What =:= database andalso IsMediaHere
            }};
        {error, _, _} = Error ->
            Error
    end.

%% @doc A site to restore, with the password that opens its backups, also when new ones are not encrypted.
-spec restorable(z:context()) -> zbackup:request().
restorable(Context) ->
    maps:merge(
        (site(Context))#{
            media_dir => z_path:media_archive(Context),
            %% On a new machine it is not there yet.
            security_dir => case z_sites_config:security_dir(z_context:site(Context)) of
                {ok, Dir} -> Dir;
                {error, _} -> undefined
            end
        },
        store(Context)
    ).

site(Context) ->
    Site = z_context:site(Context),
    #{
        site => atom_to_binary(Site),
        backup_dir => dir(Context),
        config_files => config_files(Site),
        security_dir => security_dir(Site),
        timezone => backup_config:timezone(Context),
        database => database(Context)
    }.

%% @doc The backups of a site and the password that opens them, also when new ones are not encrypted. With its
%% name, so that those of another site in the same store are not taken for its own.
-spec store(z:context()) -> zbackup:request().
store(Context) ->
    Store = #{site => atom_to_binary(z_context:site(Context)), backup_dir => dir(Context)},
    case backup_config:encrypt_password(Context) of
        <<>> -> Store;
        Password -> Store#{encryption => #{password => Password}}
    end.

%% @doc The folder of the backups. It is made when it is not there.
-spec dir(z:context()) -> file:filename_all().
dir(Context) ->
    z_path:files_subdir_ensure(<<"backup">>, Context).

%% @doc Whether a full backup has media files: not when a file store has them, or nobody has uploaded
%% anything yet.
-spec includes_media(z:context()) -> boolean().
includes_media(Context) ->
    filelib:is_dir(z_path:media_archive(Context)) andalso not backup_config:is_filestore_enabled(Context).

%% @doc When nightly backups are due, and what makes a good one.
-spec schedule(z:context()) -> zbackup:schedule().
schedule(Context) ->
    #{
        backup_dir => dir(Context),
        at => backup_config:backup_time(Context),
        timezone => backup_config:timezone(Context),
        with_files => backup_config:daily_dump(Context) =:= 1 andalso includes_media(Context)
    }.

%% @doc Whether the site has a database: it can be without one.
-spec has_database(z:context()) -> boolean().
has_database(Context) ->
    database(Context) =/= undefined.

encryption(Context) ->
    case backup_config:encryption(Context) of
        {ok, #{is_on := false}} ->
            {ok, undefined};
        {ok, #{password := <<>>}} ->
            {error, no_password,
                <<"backups are to be encrypted and there is no password: set mod_backup.backup_encrypt_password, "
                  "or switch the encryption off">>};
        {ok, #{password := Password}} ->
            {ok, #{password => Password}};
        {error, _, _} = Error ->
            Error
    end.

%% Zotonic also lists `BACKUP', a mark for itself and not the path of a file.
config_files(Site) ->
    [File || File <- z_sites_config:config_files(Site),
             filename:pathtype(File) =:= absolute,
             filelib:is_regular(File)].

security_dir(Site) ->
    case z_sites_config:security_dir(Site) of
        {ok, Dir} ->
            case filelib:is_dir(Dir) of
                true -> Dir;
                false -> undefined
            end;
        {error, _} ->
            undefined
    end.

%% @doc Where the database of the site is. A site can be without one.
-spec database(z:context()) -> map() | undefined.
database(Context) ->
    Options = z_db_pool:get_database_options(Context),
    case proplists:get_value(dbdatabase, Options) of
        None when None =:= none; None =:= <<"none">>; None =:= "none"; None =:= undefined ->
            undefined;
        Name ->
            #{
                host => proplists:get_value(dbhost, Options),
                port => proplists:get_value(dbport, Options),
                user => proplists:get_value(dbuser, Options),
                password => proplists:get_value(dbpassword, Options),
                dbname => Name,
                schema => proplists:get_value(dbschema, Options),
                pg_dump => z_config:get(pg_dump, "pg_dump")
            }
    end.

%% @doc Which database the site has, for people and to be compared.
-spec database_name(z:context()) -> binary() | undefined.
database_name(Context) ->
    case database(Context) of
        undefined ->
            undefined;
        #{host := Host, port := Port, dbname := Name, schema := Schema} ->
            unicode:characters_to_binary(io_lib:format("~ts (schema ~ts) on ~ts:~ts", [text(Part) || Part <- [Name, Schema, Host, Port]]))
    end.

text(Number) when is_integer(Number) -> integer_to_binary(Number);
text(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
text(Text) -> Text.
