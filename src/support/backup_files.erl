%% @doc Which files of the backup folder can be downloaded, and by whom.
%%
%% A name that is asked for is compared with the names of files in the list of backups, and is never made
%% into a path before one was found there. So no name leads out of the folder or to another file in it.
-module(backup_files).

-export([find/2, is_forbidden/2, is_allowed/1]).

-include_lib("kernel/include/file.hrl").
-include_lib("zotonic_core/include/zotonic.hrl").

%% @doc The path of a database dump or of media files. Configuration, which holds secrets, is never found.
-spec find(file:filename_all(), z:context()) -> {true, file:filename_all()} | false.
find(File, Context) when is_list(File) ->
    case unicode:characters_to_binary(File) of
        Name when is_binary(Name) -> find(Name, Context);
        _ -> false
    end;
find(File, Context) when is_binary(File) ->
    Dir = backup_site:dir(Context),
    case zbackup:list(#{backup_dir => Dir}) of
        {ok, #{backups := Backups}} ->
            case lists:any(fun(Backup) -> has(File, Backup) end, Backups) of
                true -> regular(filename:join(Dir, File));
                false -> false
            end;
        {error, _, _} ->
            false
    end;
find(_, _) ->
    false.

has(File, #{database := #{file := File}, is_database_present := IsPresent}) -> IsPresent;
has(File, #{files := #{file := File}, is_files_present := IsPresent}) -> IsPresent;
has(_, _) -> false.

%% A link could lead anywhere.
regular(Path) ->
    case file:read_link_info(Path) of
        {ok, #file_info{type = regular}} -> {true, Path};
        _ -> false
    end.

%% @doc Whether somebody may not download a file, of those that were found.
-spec is_forbidden(file:filename_all() | undefined, z:context()) -> boolean().
is_forbidden(File, Context) ->
    IsAllowed = is_allowed(Context),
    %% Not everybody who asks knows the name from the URL.
    Report = #{
        in => zotonic_mod_backup,
        text => <<"Download of a backup">>,
        file => case File of
            undefined -> z_context:get_q(<<"*">>, Context);
            _ -> File
        end,
        user_id => z_acl:user(Context)
    },
    case IsAllowed of
        true -> ?LOG_INFO(Report#{result => ok});
        false -> ?LOG_WARNING(Report#{result => error, reason => eacces})
    end,
    not IsAllowed.

%% @doc Whether somebody may download backups at all.
-spec is_allowed(z:context()) -> boolean().
is_allowed(Context) ->
    z_acl:is_allowed(use, mod_backup, Context) andalso backup_config:allow_backup_download(Context).
