%% @doc A stand-in for the module of the same name in Zotonic.
-module(zotonic_model).

-export_type([opt_msg/0, return/0]).

-type opt_msg() :: map() | undefined.
-type return() :: {ok, {term(), [term()]}} | {error, term()} | ok.

-callback m_get([term()], opt_msg(), z:context()) -> return().
