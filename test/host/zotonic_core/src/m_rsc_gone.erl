%% @doc A stand-in for the module of the same name in Zotonic.
-module(m_rsc_gone).

-export([delete/2]).

-spec delete(m_rsc:resource_id(), z:context()) -> ok | {error, enoent}.
delete(Id, Context) ->
    case z_db:q("delete from rsc_gone where id = $1", [Id], Context) of
        1 -> ok;
        0 -> {error, enoent}
    end.
