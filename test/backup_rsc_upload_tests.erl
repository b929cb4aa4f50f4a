%% @doc Files of pages: what is taken in, and what is refused.
-module(backup_rsc_upload_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("zotonic_core/include/zotonic.hrl").

-define(CONTEXT, host:context(testsite, "")).

upload(Format, Data) ->
    backup_rsc_upload:upload(#rsc_upload{id = 7, format = Format, data = Data}, ?CONTEXT).

refused_test() ->
    host:reset(),
    Bombs = [
        term_to_binary(#{<<"a">> => binary:copy(<<0>>, 17 * 1024 * 1024)}, [compressed]),
        term_to_binary(#{<<"a">> => fun lists:map/2}), term_to_binary(#{<<"a">> => self()}),
        term_to_binary([{1, fun() -> ok end}]), term_to_binary({bert, dict, [1]}), term_to_binary({bert, dict, [{a, 1} | b]}),
        term_to_binary([]), term_to_binary(#{}), term_to_binary([1, 2]), term_to_binary({bert, nil}), <<"{}">>, <<>>,
        term_to_binary(#{1 => 2}), term_to_binary([#{<<"a">> => 1}, #{<<"b">> => 1}])
    ],
    [?assertEqual({error, badarg}, upload(bert, Data)) || Data <- Bombs],
    ?assertEqual({error, badarg}, upload(other, <<>>)).

no_new_atoms_test() ->
    host:reset(),
    Name = <<"zz_upload_atom_", (integer_to_binary(erlang:unique_integer([positive])))/binary>>,
    Data = <<131, 108, 1:32, 104, 2, 97, 1, 108, 1:32, 104, 2, 119, (byte_size(Name)), Name/binary, 97, 1, 106, 106>>,
    %% What it is taken for goes to the database, which is not there.
    ?assertExit({noproc, _}, upload(bert, Data)),
    ?assertError(badarg, binary_to_existing_atom(Name, utf8)).

json_test() ->
    host:reset(),
    host:set(json, #{<<"good">> => #{<<"resource">> => #{}}, <<"list">> => []}),
    host:set(import, fun(Id, #{<<"resource">> := _}) -> {ok, {Id, #{}}} end),
    ?assertEqual({ok, 7}, upload(json, <<"good">>)),
    ?assertEqual({ok, 7}, upload(json, #{<<"resource">> => #{}})),
    ?assertEqual({error, badarg}, upload(json, <<"list">>)),
    ?assertEqual({error, badarg}, upload(json, <<"not json">>)),
    ?assertEqual({error, badarg}, upload(json, binary:copy(<<"[">>, 17 * 1024 * 1024))),
    host:set(import, fun(_, _) -> {ok, {8, #{}}} end),
    ?assertEqual({error, badarg}, upload(json, <<"good">>)),
    host:set(import, fun(Id, Json) -> {ok, {maps:get(<<"medium">>, Json, Id), #{}}} end),
    Medium = #{<<"uri">> => <<"https://example.com/id/1">>, <<"resource">> => #{}, <<"medium">> => 8},
    ?assertEqual({ok, 7}, upload(json, Medium)),
    ?assertEqual({ok, 7}, upload(json, #{<<"status">> => <<"ok">>, <<"result">> => Medium})),
    ?assertEqual({error, own_json}, upload(json, Medium#{<<"uri">> => <<"https://testsite.test/id/7">>})),
    host:set(import, fun(_, _) -> {error, eacces} end),
    ?assertEqual({error, eacces}, upload(json, <<"good">>)),
    host:reset().
