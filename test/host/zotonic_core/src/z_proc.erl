%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_proc).

-export([spawn_md/1, spawn_link_md/1]).

-spec spawn_md(fun(() -> term())) -> pid().
spawn_md(Fun) ->
    proc_lib:spawn(Fun).

-spec spawn_link_md(fun(() -> term())) -> pid().
spawn_link_md(Fun) ->
    proc_lib:spawn_link(Fun).
