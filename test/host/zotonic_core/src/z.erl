%% @doc A stand-in for the module of the same name in Zotonic.
-module(z).

-include("../include/zotonic.hrl").

-export_type([context/0]).

-type context() :: #context{}.
