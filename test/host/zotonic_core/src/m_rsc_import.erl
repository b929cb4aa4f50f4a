%% @doc A stand-in for the module of the same name in Zotonic. A test says what an import does.
-module(m_rsc_import).

-export([import/4]).

-spec import(term(), map(), list(), z:context()) -> {ok, {integer(), map()}} | {error, term()}.
import(Id, Json, _Options, _Context) ->
    (host:get(import, fun(_, _) -> {error, status} end))(Id, Json).
