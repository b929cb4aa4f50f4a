%% @doc Numbers as people read them.
-module(backup_text).

-export([size/1]).

%% @doc A number of bytes.
-spec size(non_neg_integer() | undefined) -> binary() | undefined.
size(undefined) -> undefined;
size(Bytes) when Bytes < 1000 -> <<(integer_to_binary(Bytes))/binary, " B">>;
size(Bytes) -> size(Bytes / 1000, [<<"kB">>, <<"MB">>, <<"GB">>, <<"TB">>]).

size(Number, [_, Next | Rest]) when Number >= 999.95 -> size(Number / 1000, [Next | Rest]);
size(Number, [Unit | _]) -> iolist_to_binary(io_lib:format("~.1f ~s", [Number, Unit])).
