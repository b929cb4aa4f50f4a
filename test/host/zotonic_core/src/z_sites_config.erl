%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_sites_config).

-export([config_files/1, security_dir/1]).

-spec config_files(atom()) -> [file:filename_all()].
config_files(_Site) ->
    host:get(config_files, []).

-spec security_dir(atom()) -> {ok, file:filename_all()} | {error, term()}.
security_dir(_Site) ->
    host:get(security_dir, {error, enoent}).
