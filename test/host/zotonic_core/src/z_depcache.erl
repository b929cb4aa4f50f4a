%% @doc A stand-in for the module of the same name in Zotonic: nothing is cached.
-module(z_depcache).

-export([flush/2]).

-spec flush(term(), z:context()) -> ok.
flush(_Key, _Context) ->
    ok.
