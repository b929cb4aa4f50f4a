%% @doc Numbers as people read them.
-module(backup_text).

-export([size/1, duration/1]).

%% @doc A number of bytes.
-spec size(non_neg_integer() | undefined) -> binary() | undefined.
size(undefined) -> undefined;
size(Bytes) when Bytes < 1000 -> <<(integer_to_binary(Bytes))/binary, " B">>;
size(Bytes) -> size(Bytes / 1000, [<<"kB">>, <<"MB">>, <<"GB">>, <<"TB">>]).

%% @doc A number of seconds.
-spec duration(non_neg_integer() | undefined) -> binary() | undefined.
duration(undefined) -> undefined;
duration(Seconds) when Seconds < 3600 -> <<(integer_to_binary(Seconds div 60))/binary, " min">>;
duration(Seconds) when Seconds < 48 * 3600 ->
    Minutes = Seconds div 60,
    iolist_to_binary(io_lib:format("~b h ~b min", [Minutes div 60, Minutes rem 60]));
duration(Seconds) ->
    Hours = Seconds div 3600,
    iolist_to_binary(io_lib:format("~b d ~b h", [Hours div 24, Hours rem 24])).

size(Number, [_, Next | Rest]) when Number >= 999.95 -> size(Number / 1000, [Next | Rest]);
size(Number, [Unit | _]) -> iolist_to_binary(io_lib:format("~.1f ~s", [Number, Unit])).
