%% @doc A stand-in for the module of the same name in Zotonic.
-module(m_config).

-export([get_value/3, set_value/4]).

-spec get_value(atom(), atom(), z:context()) -> term().
get_value(Module, Key, _Context) ->
    %% As there: a database that is down has no settings.
    case host:get(is_database_down, false) of
        false -> maps:get({Module, Key}, host:get(config, #{}), undefined);
        true -> undefined
    end.

-spec set_value(atom(), atom(), string() | binary() | atom(), z:context()) -> ok | {error, term()}.
set_value(Module, Key, Value, _Context) ->
    case host:get(read_only_config, false) of
        false -> host:set(config, (host:get(config, #{}))#{{Module, Key} => Value});
        true -> {error, no_database_connection}
    end.
