%% @doc A stand-in for the module of the same name in Zotonic.
-module(m_predicate).

-export([is_predicate/2]).

-spec is_predicate(term(), z:context()) -> boolean().
is_predicate(Predicate, _Context) ->
    lists:member(Predicate, host:get(predicates, [<<"relation">>, <<"author">>])).
