%% @doc A stand-in for the module of the same name in Zotonic.
-module(m_site).

-export([environment/1, get/3]).

-spec environment(z:context()) -> atom().
environment(_Context) ->
    host:get(environment, production).

%% @doc What the configuration file of the site says.
-spec get(atom(), atom(), z:context()) -> term().
get(Module, Key, _Context) ->
    host:get({site_config, Module, Key}, undefined).
