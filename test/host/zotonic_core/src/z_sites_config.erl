%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_sites_config).

-export([config_files/1, security_dir/1, maybe_set_backup_env/1]).

-spec config_files(atom()) -> [file:filename_all()].
config_files(_Site) ->
    host:get(config_files, []).

-spec security_dir(atom()) -> {ok, file:filename_all()} | {error, term()}.
security_dir(_Site) ->
    host:get(security_dir, {error, enoent}).

-spec maybe_set_backup_env(z:context()) -> ok | {error, term()}.
maybe_set_backup_env(Context) ->
    case m_site:environment(Context) of
        backup -> file:write_file(filename:join([host:get(site_dir, "/no/site"), "priv", "BACKUP"]), <<>>);
        Other -> {error, Other}
    end.
