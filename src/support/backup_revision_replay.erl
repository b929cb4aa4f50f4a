%% @doc Which connections there were at a moment, from the log of what happened to them after it.
-module(backup_revision_replay).

-export([edges/3]).

-export_type([edge/0, event/0, change/0, direction/0]).

%% The name of a predicate that is gone may not be known.
-type edge() :: {Subject :: integer(), Predicate :: binary() | undefined, Object :: integer()}.
-type event() :: {inserted | deleted, edge()}.
-type change() :: {insert | delete, edge()}.
-type direction() :: outgoing_edges | incoming_edges.

%% @doc What to do to have the connections of a page as they were. The events are those after the moment,
%% in the order in which they happened. Played in reverse, the last word on a connection is that of the
%% event which came first: what was then inserted was not there before.
-spec edges(integer(), [event()], [direction() | atom()]) -> [change()].
edges(Id, Events, Directions) ->
    {Changes, _} = lists:foldl(
        fun({What, Edge}, {Changes, Seen}) ->
            case is_wanted(Id, Edge, Directions) andalso not maps:is_key(Edge, Seen) of
                true -> {[{undo(What), Edge} | Changes], Seen#{Edge => true}};
                false -> {Changes, Seen}
            end
        end,
        {[], #{}},
        Events
    ),
    lists:reverse(Changes).

undo(inserted) -> delete;
undo(deleted) -> insert.

%% Outgoing are the connections whose subject the page is, incoming those whose object it is.
is_wanted(Id, {Subject, _, Object}, Directions) ->
    (Subject =:= Id andalso lists:member(outgoing_edges, Directions))
        orelse (Object =:= Id andalso lists:member(incoming_edges, Directions)).
