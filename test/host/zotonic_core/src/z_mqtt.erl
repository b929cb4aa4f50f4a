%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_mqtt).

-export([publish/3]).

-spec publish(binary(), term(), z:context()) -> ok | {error, term()}.
publish(Topic, Payload, _Context) ->
    host:tell({mqtt, Topic, Payload}).
