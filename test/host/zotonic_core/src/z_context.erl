%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_context).

-export([site/1]).

-include("../include/zotonic.hrl").

-spec site(z:context()) -> atom().
site(#context{site = Site}) ->
    Site.
