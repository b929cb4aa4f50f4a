-module(backup_text_tests).

-include_lib("eunit/include/eunit.hrl").

size_test() ->
    Shown = [backup_text:size(Bytes) || Bytes <- [0, 999, 1000, 1996000000, 999949, 999950, 1 bsl 50]],
    ?assertEqual([<<"0 B">>, <<"999 B">>, <<"1.0 kB">>, <<"2.0 GB">>, <<"999.9 kB">>, <<"1.0 MB">>,
                  <<"1125.9 TB">>], Shown),
    ?assertEqual(undefined, backup_text:size(undefined)).

duration_test() ->
    Shown = [backup_text:duration(Seconds) || Seconds <- [0, 59, 3599, 3600, 172799, 172800, 1000000]],
    ?assertEqual([<<"0 min">>, <<"0 min">>, <<"59 min">>, <<"1 h 0 min">>, <<"47 h 59 min">>, <<"2 d 0 h">>,
                  <<"11 d 13 h">>], Shown),
    ?assertEqual(undefined, backup_text:duration(undefined)).
