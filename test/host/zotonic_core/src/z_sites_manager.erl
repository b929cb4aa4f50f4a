%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_sites_manager).

-export([restart/1]).

-spec restart(atom()) -> ok | {error, term()}.
restart(Site) ->
    ok = host:tell({restart, Site}),
    host:get(restarted, ok).
