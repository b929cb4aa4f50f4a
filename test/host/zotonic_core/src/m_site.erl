%% @doc A stand-in for the module of the same name in Zotonic.
-module(m_site).

-export([environment/1]).

-spec environment(z:context()) -> atom().
environment(_Context) ->
    host:get(environment, production).
