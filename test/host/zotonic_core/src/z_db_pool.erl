%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_db_pool).

-export([get_database_options/1, pause_connections/1, unpause_connections/1]).

-spec get_database_options(z:context()) -> proplists:proplist().
get_database_options(_Context) ->
    host:get(database, [{dbdatabase, none}]).

-spec pause_connections(z:context()) -> ok.
pause_connections(_Context) ->
    host:tell(paused).

-spec unpause_connections(z:context()) -> ok.
unpause_connections(_Context) ->
    host:tell(unpaused).
