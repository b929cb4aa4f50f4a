%% @doc Connections of the past, against a history that is played forwards.
-module(backup_revision_replay_tests).

-include_lib("eunit/include/eunit.hrl").

%% From any moment of any history: what there is now, changed as told, is what there was.
history_test() ->
    [history() || _ <- lists:seq(1, 500)].

history() ->
    Events = [event() || _ <- lists:seq(1, rand:uniform(30))],
    {Past, After} = lists:split(rand:uniform(length(Events)) - 1, Events),
    %% Only what changed something is told.
    {Then, _} = play(Past, #{}),
    {Now, Told} = play(After, Then),
    [
        begin
            Changes = backup_revision_replay:edges(1, Told, Directions),
            ?assertEqual(length(Changes), length(lists:usort([Edge || {_, Edge} <- Changes]))),
            Back = lists:foldl(fun change/2, Now, Changes),
            Mine = fun(Edges) -> [Edge || Edge <- lists:sort(maps:keys(Edges)), is_of(Edge, Directions)] end,
            Others = fun(Edges) -> [Edge || Edge <- lists:sort(maps:keys(Edges)), not is_of(Edge, Directions)] end,
            ?assertEqual(Mine(Then), Mine(Back)),
            ?assertEqual(Others(Now), Others(Back))
        end
     || Directions <- [[], [outgoing_edges], [incoming_edges], [incoming_edges, outgoing_edges, dependent]]
    ].

event() ->
    Edge = {rand:uniform(3), lists:nth(rand:uniform(2), [<<"a">>, <<"b">>]), rand:uniform(3)},
    {lists:nth(rand:uniform(2), [inserted, deleted]), Edge}.

play(Events, Edges) ->
    {Edges1, Told} = lists:foldl(
        fun
            ({inserted, Edge} = Event, {E, T}) when not is_map_key(Edge, E) -> {E#{Edge => true}, [Event | T]};
            ({deleted, Edge} = Event, {E, T}) when is_map_key(Edge, E) -> {maps:remove(Edge, E), [Event | T]};
            (_, Same) -> Same
        end,
        {Edges, []},
        Events
    ),
    {Edges1, lists:reverse(Told)}.

change({insert, Edge}, Edges) -> Edges#{Edge => true};
change({delete, Edge}, Edges) -> maps:remove(Edge, Edges).

is_of({S, _, O}, Directions) ->
    (S =:= 1 andalso lists:member(outgoing_edges, Directions)) orelse
        (O =:= 1 andalso lists:member(incoming_edges, Directions)).
