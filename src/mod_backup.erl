%% @doc Backups of a site, as a Zotonic module.
%%
%% So far it lists the backups that are there. Making them every night, restoring them and the pages of
%% the admin come with the issues that follow.
-module(mod_backup).
-behaviour(gen_server).

-mod_title("Backup").
-mod_description("Backups of the database, the configuration and the files of a site.").
-mod_prio(600).
-mod_provides([backup]).
-mod_depends([]).
-mod_schema(5).

-export([start_link/1, list_backups/1]).
-export([observe_backup_list/2]).
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
-export([init/1, handle_call/3, handle_cast/2]).

-include_lib("zotonic_core/include/zotonic.hrl").

-record(state, {context :: z:context()}).

%% @doc The list of `bin/zotonic backup SITE list'.
-spec observe_backup_list(backup_list, z:context()) -> [map()].
observe_backup_list(backup_list, Context) ->
    list_backups(Context).

%% @doc The backups of a site, the newest first, with what is really there on the disk. A list that
%% cannot be read is told to the log.
-spec list_backups(z:context()) -> [map()].
list_backups(Context) ->
    case zbackup:list(#{backup_dir => z_path:files_subdir_ensure("backup", Context)}) of
        {ok, #{backups := Backups}} ->
            [entry(Backup) || Backup <- Backups];
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

entry(#{timestamp := Timestamp} = Backup) ->
    Shown = maps:with(
        [
            name,
            is_encrypted,
            is_database_present,
            is_files_present,
            is_config_files_present,
            is_filestore_uploaded
        ],
        Backup
    ),
    Shown#{timestamp => calendar:system_time_to_universal_time(Timestamp, second)}.

%% @doc Started by Zotonic, for each site that has the module.
-spec start_link([{context, z:context()}]) -> gen_server:start_ret().
start_link(Args) ->
    gen_server:start_link(?MODULE, Args, []).

init(Args) ->
    {context, Context} = proplists:lookup(context, Args),
    {ok, #state{context = Context}}.

handle_call(Request, _From, State) ->
    {stop, {unknown_call, Request}, State}.

handle_cast(Request, State) ->
    {stop, {unknown_cast, Request}, State}.

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
