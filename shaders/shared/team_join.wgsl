
fn joined_NAME(a: KIND, b: KIND) -> KIND {
    return JOINED;
}

// What all lanes of a line hold, joined in an order that is fixed, for each of them. All lanes of the workgroup call it.
fn team_NAME(team: Team, value: KIND) -> KIND {
    // The values stored before have been read.
    workgroupBarrier();
    held_KIND[team.own] = value;
    workgroupBarrier();
    if team.member < FAN {
        var some = value;
        #for k in 1..FAN_IN
        some = joined_NAME(some, held_KIND[team.own + $k * FAN * APART]);
        #end
        held_KIND[team.own] = some;
    }
    workgroupBarrier();
    var all = held_KIND[team.first];
    #for k in 1..FAN
    all = joined_NAME(all, held_KIND[team.first + $k * APART]);
    #end
    return all;
}
