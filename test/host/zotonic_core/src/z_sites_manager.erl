%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_sites_manager).

-export([restart/1, get_site_status/1]).

-spec restart(atom()) -> ok | {error, term()}.
restart(Site) ->
    ok = host:tell({restart, Site}),
    host:get(restarted, ok).

-spec get_site_status(atom()) -> {ok, atom()} | {error, bad_name}.
get_site_status(_Site) ->
    {ok, host:get(site_status, running)}.
