%% @doc Backups of a site, as a Zotonic module: made every night, proven, restored; and the log of
%% revisions.
%%
%% What others call and what Zotonic notifies is here. The server that owns the job which is running is
%% {@link backup_server}, and what a job does is in {@link backup_job}; work is done by {@link zbackup}.
-module(mod_backup).
-behaviour(gen_server).

-mod_title("Backup").
-mod_description("Nightly backups of the database, the configuration and the files; revisions of pages.").
-mod_prio(600).
-mod_provides([backup]).
-mod_depends([]).
-mod_schema(7).
-mod_config([
    #{
        key => daily_dump,
        type => integer,
        default => 1,
        description => "What is backed up every night: 0 = nothing, 1 = database and files, 2 = only the database."
    },
    #{
        key => backup_time,
        type => string,
        default => "03:00",
        description => "When the nightly backup is made, as hours and minutes."
    },
    #{
        key => timezone,
        type => string,
        default => "",
        description => "The time zone of the backup time, such as Europe/Amsterdam. Else that of the site."
    },
    #{
        key => verify_after,
        type => boolean,
        default => true,
        description => "Prove each nightly backup to be whole after it was made."
    },
    #{
        key => notify_email,
        type => string,
        default => "",
        description => "Who gets a mail when nightly backups fail. Else the administrator of the site."
    },
    #{
        key => encrypt_backups,
        type => boolean,
        default => false,
        description => "Encrypt the backups. A password is made when there is none."
    },
    #{
        key => backup_encrypt_password,
        type => string,
        default => "",
        description => "The password of encrypted backups. Keep a copy of it at another, safe place: "
                       "without it they cannot be opened."
    },
    #{
        key => allow_backup_download,
        type => boolean,
        default => true,
        description => "Allow to download backups in the admin."
    },
    #{
        key => allow_manual_backup,
        type => boolean,
        default => true,
        description => "Allow to start backups in the admin."
    },
    #{
        key => offsite_url,
        type => string,
        default => "",
        description => "Where copies of the backups go, as s3://bucket/prefix; each site has its own prefix. None "
                       "are made when it is empty."
    },
    #{
        key => offsite_endpoint,
        type => string,
        default => "",
        description => "The address of the object store, such as https://s3.example.com. Else Amazon's."
    },
    #{
        key => offsite_region,
        type => string,
        default => "",
        description => "The region of the object store, when it has one."
    },
    #{
        key => offsite_key,
        type => string,
        default => "",
        description => "The access key of the object store."
    },
    #{
        key => offsite_secret,
        type => string,
        default => "",
        description => "The secret of that key."
    },
    #{
        key => admin_panel,
        type => boolean,
        default => false,
        description => "Show the panel for backup and restore of a page on its edit page."
    },
    #{
        key => revision_retention_months,
        type => integer,
        default => 18,
        description => "How many months revisions of pages are kept, at least 1."
    },
    #{
        key => user_revision_retention_days,
        type => integer,
        default => 90,
        description => "How many days revisions of users are kept, at least 1."
    },
    #{
        key => user_deletion_retention_days,
        type => integer,
        default => 30,
        description => "How many days revisions of deleted users are kept, at most 30."
    }
]).

-export([
    start_backup/1, start_backup/2,
    verify_backup/2,
    restore_backup/1, restore_backup/3,
    download_backup/1,
    list_backups/1,
    backup_in_progress/1,
    is_uploading/1,
    running/1,
    copying/1,
    failures/1,
    file_exists/2,
    file_forbidden/2
]).
-export([
    observe_admin_menu/3,
    observe_m_config_update/2,
    observe_backup_list/2,
    observe_backup_start/2,
    observe_backup_restore/2,
    observe_backup_download/2
]).
%% The revision log.
-export([
    manage_schema/2,
    observe_rsc_delete/2,
    observe_rsc_update_done/2,
    observe_edge_insert/2,
    observe_edge_delete/2,
    observe_media_update_done/2,
    observe_rsc_upload/2,
    observe_search_query/2,
    observe_tick_24h/2
]).
-export([start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("zotonic_core/include/zotonic.hrl").
-include_lib("zotonic_mod_admin/include/admin_menu.hrl").

-export_type([restore_option/0, running/0]).

%% What to restore; and when the backup was made that is meant, in seconds since 1970: names are used again, and
%% a newer one that got the name meanwhile is not restored.
-type restore_option() :: database | files | config | security | {timestamp, integer()}.

%% The job that is running. `progress' is undefined before the first of it.
-type running() :: #{
    kind := settle | backup | verify | restore | upload | download,
    started := calendar:datetime(),
    progress := zbackup:progress() | undefined
}.

%% What the server does takes no time. It may not be there: in a restart, or when the module is just
%% switched off.
-define(TIMEOUT, 5000).

%% @doc Starts a full backup.
-spec start_backup(z:context()) -> ok | {error, in_progress | env_backup | not_running}.
start_backup(Context) ->
    start_backup(true, Context).

%% @doc Starts a backup: a full one, or one of only the database.
-spec start_backup(boolean(), z:context()) -> ok | {error, in_progress | env_backup | not_running}.
start_backup(IsFull, Context) ->
    What = case IsFull of
        true -> full;
        false -> database
    end,
    start({backup, manual, What, undefined}, Context).

%% @doc Starts the proof of the backup with this name. What comes out is in the list of backups then.
-spec verify_backup(binary(), z:context()) -> ok | {error, in_progress | not_running}.
verify_backup(Name, Context) when is_binary(Name) ->
    start({verify, [Name]}, Context).

%% @equiv restore_backup(recent, [database, files], Context)
-spec restore_backup(z:context()) -> ok | {error, term()}.
restore_backup(Context) ->
    restore_backup(recent, [database, files], Context).

%% @doc Restores a backup and starts the site again; nothing is touched before all that is wanted of it is
%% proven. Returns when the site is there again. The process that calls this should not be one of the
%% site: that would be stopped with it, while the restore goes on.
-spec restore_backup(binary() | string() | recent, [restore_option()], z:context()) -> ok | {error, term()}.
restore_backup(recent, Options, Context) ->
    restore_backup(<<"recent">>, Options, Context);
restore_backup(Name, Options, Context) when is_binary(Name) ->
    %% Whatever a shell gave, which may not even be a proper list.
    case is_list(Options) andalso length_of(Options) of
        Length when is_integer(Length) ->
            {Times, Parts} = lists:partition(fun is_timestamp/1, Options),
            case [Part || Part <- Parts, not lists:member(Part, [database, files, config, security])] of
                [] ->
                    Wanted = case Parts of
                        [] -> [database, files];
                        _ -> lists:usort(Parts)
                    end,
                    Task = {restore, Name, maps:from_list([{only, Wanted} | Times])},
                    restarted(call(Task, infinity, Context));
                [Unknown | _] ->
                    {error, {unknown_option, Unknown}}
            end;
        _ ->
            {error, {invalid_options, Options}}
    end;
restore_backup(Name, Options, Context) when is_list(Name) ->
    try unicode:characters_to_binary(Name) of
        Binary when is_binary(Binary) -> restore_backup(Binary, Options, Context);
        _ -> {error, {invalid_name, Name}}
    catch
        error:badarg -> {error, {invalid_name, Name}}
    end;
restore_backup(Name, _Options, _Context) ->
    {error, {invalid_name, Name}}.

is_timestamp({timestamp, Seconds}) -> is_integer(Seconds);
is_timestamp(_) -> false.

length_of(List) ->
    try length(List) catch error:badarg -> improper end.

restarted({restarting, Pid}) -> backup_restart:await(Pid);
restarted({error, _} = Error) -> Error.

%% @doc Starts to look for newer backups in the store now, in the backup environment. The newest is restored and
%% the site started again, when it is newer than what was restored last.
-spec download_backup(z:context()) -> ok | {error, not_env_backup | no_store | in_progress | not_running}.
download_backup(Context) ->
    case m_site:environment(Context) of
        backup ->
            case backup_store:all(Context) of
                [] -> {error, no_store};
                _ -> backup_copier:start(Context)
            end;
        _ ->
            {error, not_env_backup}
    end.

%% @doc The backups of a site, the newest first, with what is really there on the disk; before them the one
%% that is being made. A list that cannot be read is told to the log.
-spec list_backups(z:context()) -> [map()].
list_backups(Context) ->
    case running(Context) of
        #{kind := backup, started := Started} ->
            Running = #{
                name => <<"(", (atom_to_binary(z_context:site(Context)))/binary, ")">>,
                timestamp => Started,
                is_running => true
            },
            [Running | backup_list:read(Context)];
        _ ->
            backup_list:read(Context)
    end.

%% @doc Whether a backup is being made.
-spec backup_in_progress(z:context()) -> boolean().
backup_in_progress(Context) ->
    is_running(backup, Context).

%% @doc Whether a backup is on its way to a file store.
-spec is_uploading(z:context()) -> boolean().
is_uploading(Context) ->
    case copying(Context) of
        #{kind := upload} -> true;
        _ -> false
    end.

%% @doc The copying to or from a store that is under way.
-spec copying(z:context()) -> running() | undefined.
copying(Context) ->
    #{running := Running} = backup_copier:state(Context),
    Running.

is_running(Kind, Context) ->
    case running(Context) of
        #{kind := Kind} -> true;
        _ -> false
    end.

%% @doc The job that is running, when there is one.
-spec running(z:context()) -> running() | undefined.
running(Context) ->
    case call(running, ?TIMEOUT, Context) of
        {error, _} -> undefined;
        Running -> Running
    end.

%% @doc The last failures of a restore, of a proof and of copies, until one of them goes well.
-spec failures(z:context()) -> [backup_status:failure() | backup_copier:failure()].
failures(Context) ->
    #{failure := OfCopies} = backup_copier:state(Context),
    [Failure || Failure <- [OfCopies], Failure =/= undefined] ++ backup_status:failures(Context).

%% @doc Called by `controller_file': where a file is that somebody wants to download.
-spec file_exists(file:filename_all(), z:context()) -> {true, file:filename_all()} | false.
file_exists(File, Context) ->
    backup_files:find(File, Context).

%% @doc Called by `controller_file': whether somebody may not.
-spec file_forbidden(file:filename_all() | undefined, z:context()) -> boolean().
file_forbidden(File, Context) ->
    backup_files:is_forbidden(File, Context).

%% Notifications

-spec observe_admin_menu(#admin_menu{}, list(), z:context()) -> list().
observe_admin_menu(#admin_menu{}, Items, Context) ->
    Visible = {acl, use, mod_backup},
    [
        #menu_item{
            id = admin_backup,
            parent = admin_modules,
            label = ?__("Backup", Context),
            url = {admin_backup},
            visiblecheck = Visible
        },
        #menu_separator{parent = admin_content, visiblecheck = Visible, sort = 2000000},
        #menu_item{
            id = admin_backup_deleted,
            parent = admin_content,
            label = ?__("Deleted pages", Context),
            url = {admin_backup_deleted},
            visiblecheck = Visible,
            sort = 2000001
        }
        | Items
    ].

%% @doc Encryption that was switched on has a password, and a store that was set gets its copies.
-spec observe_m_config_update(#m_config_update{}, z:context()) -> ok | {error, term()}.
observe_m_config_update(#m_config_update{module = ?MODULE, key = encrypt_backups}, Context) ->
    backup_config:ensure_encrypt_password(Context);
observe_m_config_update(#m_config_update{module = ?MODULE, key = Key}, Context) when
    Key =:= offsite_url; Key =:= offsite_endpoint; Key =:= offsite_region; Key =:= offsite_key; Key =:= offsite_secret
->
    backup_copier:changed(Context);
observe_m_config_update(#m_config_update{module = mod_filestore}, Context) ->
    backup_copier:changed(Context);
observe_m_config_update(#m_config_update{}, _) ->
    ok.

%% @doc `bin/zotonic backup SITE list'.
-spec observe_backup_list(backup_list, z:context()) -> [map()].
observe_backup_list(backup_list, Context) ->
    backup_replica:plain(Context) ++ [backup_list:plain(Backup) || Backup <- list_backups(Context)].

%% @doc `bin/zotonic backup SITE start'.
-spec observe_backup_start(backup_start, z:context()) -> ok | {error, atom()}.
observe_backup_start(backup_start, Context) ->
    start_backup(Context).

%% @doc `bin/zotonic backup SITE restore NAME'.
-spec observe_backup_restore({backup_restore, binary() | string() | recent, [restore_option()]}, z:context()) ->
    ok | {error, term()}.
observe_backup_restore({backup_restore, Name, Options}, Context) ->
    restore_backup(Name, Options, Context).

%% @doc `bin/zotonic backup SITE download'.
-spec observe_backup_download(backup_download, z:context()) -> ok | {error, atom()}.
observe_backup_download(backup_download, Context) ->
    download_backup(Context).

%% The server

start(Task, Context) ->
    call({start, Task}, ?TIMEOUT, Context).

call(Request, Timeout, Context) ->
    try
        gen_server:call(z_utils:name_for_site(?MODULE, Context), Request, Timeout)
    catch
        exit:_ -> {error, not_running}
    end.

%% @doc Started by Zotonic, for each site that has the module.
-spec start_link([{context, z:context()}]) -> gen_server:start_ret().
start_link(Args) ->
    {context, Context} = proplists:lookup(context, Args),
    Name = z_utils:name_for_site(?MODULE, Context),
    gen_server:start_link({local, Name}, ?MODULE, Args, []).

%% Zotonic starts a module that says that it is a server. What it does is in {@link backup_server}.

init(Args) -> backup_server:init(Args).

handle_call(Request, From, State) -> backup_server:handle_call(Request, From, State).

handle_cast(Request, State) -> backup_server:handle_cast(Request, State).

handle_info(Message, State) -> backup_server:handle_info(Message, State).

terminate(Reason, State) -> backup_server:terminate(Reason, State).

%% The revision log

%% @doc Makes the tables of the revision log, or what they lack.
-spec manage_schema(install | {upgrade, integer()}, z:context()) -> ok.
manage_schema(Version, Context) ->
    backup_revision_schema:install(Version, Context).

%% @doc A page is about to be deleted.
-spec observe_rsc_delete(#rsc_delete{}, z:context()) -> ok.
observe_rsc_delete(Delete, Context) ->
    backup_revision_log:rsc_delete(Delete, Context).

%% @doc A page was made, changed or deleted.
-spec observe_rsc_update_done(#rsc_update_done{}, z:context()) -> ok.
observe_rsc_update_done(Done, Context) ->
    backup_revision_log:rsc_update_done(Done, Context).

%% @doc A connection was made.
-spec observe_edge_insert(#edge_insert{}, z:context()) -> ok.
observe_edge_insert(Edge, Context) ->
    backup_revision_log:edge_insert(Edge, Context).

%% @doc A connection was broken.
-spec observe_edge_delete(#edge_delete{}, z:context()) -> ok.
observe_edge_delete(Edge, Context) ->
    backup_revision_log:edge_delete(Edge, Context).

%% @doc The medium of a page was added, changed or taken away.
-spec observe_media_update_done(#media_update_done{}, z:context()) -> ok.
observe_media_update_done(Done, Context) ->
    backup_revision_log:media_update_done(Done, Context).

%% @doc Takes in a page that was saved to a file.
-spec observe_rsc_upload(#rsc_upload{}, z:context()) -> {ok, m_rsc:resource_id()} | {error, term()}.
observe_rsc_upload(Upload, Context) ->
    backup_rsc_upload:upload(Upload, Context).

%% @doc The search for deleted pages.
-spec observe_search_query(#search_query{}, z:context()) -> #search_result{} | undefined.
observe_search_query(Query, Context) ->
    m_backup_revision:search_query(Query, Context).

%% @doc Deletes the revisions that are kept no longer.
-spec observe_tick_24h(tick_24h, z:context()) -> term().
observe_tick_24h(tick_24h, Context) ->
    backup_revision_prune:run(Context).
