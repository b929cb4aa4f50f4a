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

-export([start_link/1, list_backups/1]).
-export([observe_backup_list/2]).
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
