%% @doc A stand-in for the module of the same name in Zotonic.
-module(m_identity).

-export([user_types/1]).

-spec user_types(z:context()) -> [atom()].
user_types(_Context) ->
    [username_pw].
