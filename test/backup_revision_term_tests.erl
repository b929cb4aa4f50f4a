%% @doc Reading terms that others wrote.
-module(backup_revision_term_tests).

-include_lib("eunit/include/eunit.hrl").

terms() ->
    [
        0, 255, 256, -1, 1 bsl 31, -(1 bsl 31), 1 bsl 64, -(1 bsl 2100), 1.5, -0.0, 1.0e300,
        a, 'é', true, undefined, [], {}, "text", [1, 300, a], [a | b], {a, {b, [c]}},
        <<>>, <<"text">>, #{}, #{a => 1, <<"b">> => [#{c => {}}]}, list_to_tuple(lists:seq(1, 300)),
        {trans, [{en, <<"x">>}]}, {{2026, 11, 24}, {1, 2, 3}}, lists:duplicate(70000, $a)
    ].

read_test() ->
    [?assertEqual({ok, Term}, backup_revision_term:decode(term_to_binary(Term, Options)))
     || Term <- terms(), Options <- [[], [compressed], [{minor_version, 0}]]].

%% With an atom that nobody has, our own reader has to read all of it.
unknown_atoms_test() ->
    Unknown = <<119, 20, "zz_unknown_atom_", (integer_to_binary(1000 + rand:uniform(8999)))/binary>>,
    [
        begin
            <<131, Bytes/binary>> = term_to_binary(Term, Options),
            Data = <<131, 104, 2, Bytes/binary, Unknown/binary>>,
            ?assertError(badarg, binary_to_term(Data, [safe])),
            Before = erlang:system_info(atom_count),
            {ok, {Read, Name}} = backup_revision_term:decode(Data),
            ?assertEqual(Term, Read),
            ?assertMatch(<<"zz_unknown_atom_", _/binary>>, Name),
            ?assertEqual(Before, erlang:system_info(atom_count))
        end
     || Term <- terms(), Options <- [[], [{minor_version, 0}]]
    ].

refused_test() ->
    Bad = [
        <<>>, <<131>>, <<1, 2, 3>>, undefined, <<131, 97>>, <<131, 97, 1, 2>>, <<131, 80, 0:32>>,
        term_to_binary(self()), term_to_binary(make_ref()), term_to_binary(fun lists:map/2),
        term_to_binary(fun() -> ok end), term_to_binary([#{a => {fun lists:map/2}}]), term_to_binary(<<1:3>>),
        term_to_binary(hd(erlang:ports())),
        %% What takes hours to be shown: a number of many digits, in both readers, and what is deep.
        term_to_binary(1 bsl 5000), term_to_binary(#{a => [-(1 bsl 5000)]}), big(5000), big(9000000),
        <<131, 104, 2, 119, 9, "zz_nobody", (binary:part(big(5000), 1, 5006))/binary>>,
        term_to_binary(nested(200)), term_to_binary(lists:foldl(fun(_, T) -> {T} end, a, lists:seq(1, 200))),
        term_to_binary(lists:foldl(fun(_, T) -> #{a => T} end, a, lists:seq(1, 200))),
        <<131, 104, 2, 119, 9, "zz_nobody", (binary:copy(<<108, 1:32>>, 100000))/binary, (binary:copy(<<106>>, 100001))/binary>>,
        %% Not all there, of what has a name that nobody has.
        <<131, 108, 16#ffffffff:32, 119, 9, "zz_nobody">>, <<131, 109, 16#ffffffff:32>>, <<131, 105, 16#ffffffff:32>>
    ],
    [?assertEqual({error, unreadable}, backup_revision_term:decode(Data)) || Data <- Bad].

big(Size) -> <<131, 111, Size:32, 0, (binary:copy(<<255>>, Size))/binary>>.

nested(Depth) -> lists:foldl(fun(_, Term) -> [Term] end, [], lists:seq(1, Depth)).

deep_enough_test() ->
    ?assertMatch({ok, _}, backup_revision_term:decode(term_to_binary(nested(50)))).

sizes_test() ->
    Zeros = term_to_binary(binary:copy(<<0>>, 1000000), [compressed]),
    ?assert(byte_size(Zeros) < 10000),
    ?assertMatch({ok, _}, backup_revision_term:decode(Zeros, 2000000)),
    ?assertEqual({error, unreadable}, backup_revision_term:decode(Zeros, 999999)),
    ?assertEqual({error, unreadable}, backup_revision_term:decode(term_to_binary(binary:copy(<<0>>, 1000)), 999)),
    %% One that says that it is small, and one that says that it is larger than it is.
    <<131, 80, Size:32, Packed/binary>> = Zeros,
    ?assertEqual({error, unreadable}, backup_revision_term:decode(<<131, 80, 1000:32, Packed/binary>>)),
    ?assertEqual({error, unreadable}, backup_revision_term:decode(<<131, 80, (Size + 1):32, Packed/binary>>)).

%% Whatever the bytes are: an answer, and no new atoms.
any_bytes_test() ->
    [backup_revision_term:decode(broken(term_to_binary({Term, <<"x">>}))) || _ <- lists:seq(1, 50), Term <- terms(), is_small(Term)],
    Before = erlang:system_info(atom_count),
    [backup_revision_term:decode(broken(term_to_binary({Term, <<"x">>}))) || _ <- lists:seq(1, 50), Term <- terms(), is_small(Term)],
    ?assertEqual(Before, erlang:system_info(atom_count)).

is_small(Term) -> erlang:external_size(Term) < 1000.

broken(Data) ->
    At = rand:uniform(byte_size(Data)) - 1,
    <<Before:At/binary, _, After/binary>> = Data,
    case rand:uniform(3) of
        1 -> <<Before/binary, (rand:uniform(256) - 1), After/binary>>;
        2 -> Before;
        3 -> <<Before/binary, After/binary>>
    end.

props_test() ->
    Old = [{title, {trans, [{en, <<"t">>}]}}, is_published, {blocks, [[{name, b1}, {type, <<"text">>}], [{name, b2}]]},
           {language, [en, nl]}, {<<"bin">>, 1}],
    Wanted = #{
        <<"title">> => {trans, [{en, <<"t">>}]}, <<"is_published">> => true, <<"language">> => [en, nl], <<"bin">> => 1,
        <<"blocks">> => [#{<<"name">> => b1, <<"type">> => <<"text">>}, #{<<"name">> => b2}]
    },
    ?assertEqual({ok, Wanted}, backup_revision_term:props(term_to_binary(Old))),
    ?assertEqual({ok, Wanted}, backup_revision_term:props(term_to_binary(Wanted))),
    ?assertEqual({ok, #{}}, backup_revision_term:props(term_to_binary([]))),
    Improper = #{<<"a">> => [1 | 2], <<"b">> => [{x, 1} | y], <<"c">> => [[{x, 1}] | [{x, 1} | 2]]},
    ?assertEqual({ok, Improper#{<<"c">> := [#{<<"x">> => 1}, {x, 1} | 2]}}, backup_revision_term:props(term_to_binary(Improper))),
    %% The first of two of the same name counts, as in a list of properties.
    ?assertEqual({ok, #{<<"a">> => 1}}, backup_revision_term:props(term_to_binary([{a, 1}, {a, 2}]))),
    [?assertEqual({error, unreadable}, backup_revision_term:props(term_to_binary(Term)))
     || Term <- [7, a, {a, 1}, [1, 2], [{1, 2}], [{a, 1} | b], "text"]].
